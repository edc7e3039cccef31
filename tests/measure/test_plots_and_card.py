"""Importance, plots and the model card, over one evaluation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from markdown_it import MarkdownIt
from numpy.typing import NDArray
from PIL import Image

from towpath.core.charter import Charter, Slice, parse
from towpath.core.digest import of_bytes, short
from towpath.core.errors import BadInput, Unwritable
from towpath.core.evidence import Finding, Outcome, Severity
from towpath.measure import plots
from towpath.measure.card import CardData, Cite, Feature, Figure, Judged, Plot, Table, render, text
from towpath.measure.gates import Evaluation, Holdout, evaluate
from towpath.measure.importance import Importance, importance
from towpath.measure.slices import Group

HOSTILE = "a | b\n<script>alert(1)</script> `x` *y* _z_ [l](javascript:alert(1)) ![i](http://h/x.png) &lt; \\ # ~~s~~"


def charter() -> Charter:
    return parse(
        {
            "towpath": 1,
            "project": "flight-delay",
            "owner": {"name": "Ada Byron", "email": "ada@example.org"},
            "purpose": f"Tells who will be late. {HOSTILE}",
            "risk": "medium",
            "sources": {"flights": {"uri": "flights.csv", "contract": "flights.odcs.yaml"}},
            "features": {"service": "delay", "rowId": "flight_id"},
            "training": {"target": "late", "span": "90d", "holdout": "30d"},
            "gates": {"rocAuc": 0.6, "logLoss": 0.7, "slices": [{"by": "origin", "rocAuc": 0.6, "minRows": 100}]},
            "monitoring": {"window": "30d"},
            "outcome": {"metric": "missed connections", "target": "a tenth fewer", "review": "90d"},
        }
    )


class Case:
    """A holdout of 1,500 rows and what was measured on it."""

    def __init__(self) -> None:
        generator = np.random.default_rng(9)
        self.inputs = pd.DataFrame({"delay": generator.normal(size=1_500), "noise": generator.normal(size=1_500)})
        self.origin = np.array(["EWR", "JFK", "LGA", "a rather long name of a very small airport"], dtype=object)[
            generator.choice(4, 1_500, p=[0.4, 0.3, 0.29, 0.01])
        ]
        self.probabilities = self.predict(self.inputs)
        self.labels = (generator.random(1_500) < self.probabilities).astype(int)
        self.evaluation: Evaluation = evaluate(
            Holdout(
                labels=self.labels,
                candidate=self.probabilities,
                base_rate=0.3,
                columns={"origin": self.origin},
                latencies_ms=[2.0] * 40,
            ),
            charter().gates,
            resamples=50,
        )

    @staticmethod
    def predict(rows: pd.DataFrame) -> NDArray[np.float64]:
        return 1 / (1 + np.exp(1 - 1.5 * rows["delay"].to_numpy(dtype=np.float64)))

    def draw(self, folder: Path) -> list[Path]:
        found = self.evaluation
        return [
            plots.calibration(folder / "calibration.png", self.labels, self.probabilities, found.metrics, bound=0.05),
            plots.roc(folder / "roc.png", self.labels, self.probabilities, found.metrics, bound=0.6),
            plots.importances(folder / "importance.png", importance(self.predict, self.inputs, self.labels)),
            plots.groups(folder / "slices.png", found.groups),
        ]


@pytest.fixture(scope="module")
def case() -> Case:
    return Case()


def test_what_the_model_uses_is_important_and_what_it_ignores_is_not(case: Case) -> None:
    found = importance(case.predict, case.inputs, case.labels)
    assert [item.column for item in found] == ["delay", "noise"]
    assert found[0].increase > 0.2
    assert found[0].spread > 0
    assert (found[1].increase, found[1].spread) == (pytest.approx(0, abs=1e-12), pytest.approx(0, abs=1e-12))
    assert found == importance(case.predict, case.inputs, case.labels)


def test_importance_uses_at_most_so_many_rows_and_leaves_the_inputs_alone(case: Case) -> None:
    before, seen = case.inputs.copy(), []

    def predict(rows: pd.DataFrame) -> NDArray[np.float64]:
        seen.append(len(rows))
        return case.predict(rows)

    importance(predict, case.inputs, case.labels, max_rows=200, repeats=3)
    assert seen == [200, 600, 600]
    pd.testing.assert_frame_equal(case.inputs, before)
    with pytest.raises(BadInput, match="2 labels for 1500 rows"):
        importance(case.predict, case.inputs, [0, 1])


@pytest.mark.slow
def test_plots_are_pngs_of_a_readable_size_and_the_same_bytes_each_time(case: Case, tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    for one, two in zip(case.draw(tmp_path), case.draw(tmp_path / "again"), strict=True):
        assert one.read_bytes() == two.read_bytes()
        with Image.open(one) as picture:
            assert picture.format == "PNG"
            assert 700 <= picture.width <= 900
            assert 200 <= picture.height <= 900
            assert "Software" not in picture.info
            assert len(picture.convert("L").getcolors()) > 20


@pytest.mark.slow
def test_many_groups_and_columns_are_still_drawn(case: Case, tmp_path: Path) -> None:
    estimate = case.evaluation.metrics.roc_auc
    many = [
        Group(
            by="tail",
            value=f"N{place}",
            rows=900,
            positives=90,
            bound=0.6,
            roc_auc=replace(estimate, low=0.5 + place / 1_000),
        )
        for place in range(200)
    ]
    columns = [Importance(column="x" * 80 + str(place), increase=1 / (place + 1), spread=0.01) for place in range(60)]
    for path in (plots.groups(tmp_path / "g.png", many), plots.importances(tmp_path / "i.png", columns)):
        with Image.open(path) as picture:
            assert picture.height < 2_500


def test_nothing_to_draw_and_nowhere_to_write_are_refused(case: Case, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no importance"):
        plots.importances(tmp_path / "i.png", [])
    with pytest.raises(BadInput, match="No group"):
        plots.groups(tmp_path / "g.png", [])
    with pytest.raises(Unwritable, match=r"g\.png"):
        plots.groups(tmp_path / "missing" / "g.png", case.evaluation.groups)


def cite(sequence: int, stage: str) -> Cite:
    return Cite(sequence=sequence, stage=stage, digest=of_bytes(stage.encode()))


def card_of(case: Case, pictures: Sequence[Path] = (), **changed: object) -> CardData:
    evaluate_at, validate_at = cite(15, "evaluate"), cite(12, "validate")
    found = case.evaluation
    warning = Finding(
        code="data.rule",
        outcome=Outcome.FAIL,
        severity=Severity.WARNING,
        subject="flights",
        bound="<= 0.01",
        measured=0.02,
        reason=HOSTILE,
    )
    whole = CardData(
        name="flight-delay",
        version=None,
        charter=charter(),
        candidate="flight-delay-20130701",
        candidate_digest=of_bytes(b"candidate"),
        model_digest=of_bytes(b"model"),
        as_of="2013-07-01 00:00 UTC",
        tables=[
            Table(
                name="flights",
                rows=166_158,
                digest=of_bytes(b"table"),
                window="2013-01 to 2013-06",
                cite=cite(11, "ingest"),
            )
        ],
        features=[Feature(name="dep_delay", origin="request", kind="double")],
        features_at=cite(13, "featurize"),
        params={"learning_rate": 0.1, "note": HOSTILE},
        trained_at=cite(14, "train"),
        metrics=[Figure(name="ROC AUC", estimate=found.metrics.roc_auc, cite=evaluate_at)],
        evaluated_at=evaluate_at,
        groups=found.groups,
        importances=importance(case.predict, case.inputs, case.labels),
        findings=[
            Judged(finding=warning, cite=validate_at),
            *(Judged(finding=item, cite=evaluate_at) for item in found.findings),
        ],
        plots=[Plot(file=path.name, title=path.stem, png=path.read_bytes(), cite=evaluate_at) for path in pictures],
    )
    return replace(whole, **changed)  # type: ignore[arg-type]


def test_the_card_holds_every_finding_with_the_entry_it_came_from(case: Case) -> None:
    card = card_of(case)
    markdown, page = render(card)
    rows = [line for line in markdown.splitlines() if line.startswith("| **")]
    assert len(rows) == len(card.findings)
    for row, item in zip(rows, card.findings, strict=True):
        assert row.startswith(f"| **{item.finding.outcome.value}**")
        assert f"`{item.finding.code}`" in row
        assert row.endswith(f"`#{item.cite.sequence} {short(item.cite.digest)}` |")
        assert f"<code>{item.finding.code}</code>" in page
    for named in card.cites:
        assert named.digest in markdown
        assert named.digest in page
    assert [item.sequence for item in card.cites] == [11, 12, 13, 14, 15]


def test_the_card_says_who_what_for_how_good_and_how_to_verify(case: Case) -> None:
    markdown, page = render(card_of(case))
    for said in (
        "not yet registered",
        "Ada Byron",
        "medium",
        "missed connections",
        "166,158",
        "learning_rate",
        "dep_delay",
        "towpath ledger verify",
        "towpath show flight-delay-20130701",
        of_bytes(b"model"),
        "too small",
    ):
        assert said in markdown
        assert said in page
    assert "flight-delay, version 7" in render(card_of(case, version="7"))[0]


def test_limitations_name_what_did_not_pass_refusals_first(case: Case) -> None:
    card = card_of(case)
    refused = Finding(code="eval.latency", outcome=Outcome.FAIL, reason="It took too long.")
    limits = replace(card, findings=[*card.findings, Judged(finding=refused, cite=cite(15, "evaluate"))]).limitations
    assert [item.finding.code for item in limits] == ["eval.latency", "data.rule", "eval.slice"]
    assert "Every check passed" in render(replace(card, findings=[]))[0]


def test_text_of_others_is_text_in_markdown_and_page(case: Case) -> None:
    markdown, page = render(card_of(case))
    assert "<script" not in page
    assert "javascript:" not in "".join(re.findall(r'(?:href|src)="([^"]*)"', page))
    assert not re.findall(r"<(?:img|a|em|s)\b", page)
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 4  # purpose, parameter, limitation, finding
    shown = MarkdownIt("commonmark", {"html": False}).render(text(HOSTILE))
    escaped = " ".join(HOSTILE.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert re.sub(r"<p>|</p>\n", "", shown) == escaped
    assert "\\|" in markdown


def test_the_page_holds_its_pictures_and_the_markdown_names_them(case: Case, tmp_path: Path) -> None:
    markdown, page = render(card_of(case, case.draw(tmp_path)))
    for name in ("calibration", "roc", "importance", "slices"):
        assert f"![{name}]({name}.png)" in markdown
    assert page.count('src="data:image/png;base64,') == 4
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    assert "http" not in re.sub(r"http://h/x.png", "", page)
    assert (markdown, page) == render(card_of(case, case.draw(tmp_path)))


def test_a_plot_that_is_no_png_is_refused(case: Case) -> None:
    with pytest.raises(BadInput, match=r"roc\.png is no PNG"):
        render(card_of(case, plots=[Plot(file="roc.png", title="ROC", png=b"<svg>", cite=cite(1, "evaluate"))]))


def test_slices_of_the_charter_are_in_the_card(case: Case) -> None:
    assert charter().gates.slices == (Slice(by="origin", min_rows=100, roc_auc=0.6),)
    markdown, _ = render(card_of(case))
    for group in case.evaluation.groups:
        assert f"| {text(group.name)} | {group.rows:,} |" in markdown
