"""The evidence of a rollout of multiclass models: losses of classes, by a plain reading, numpy and scikit-learn."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, log_loss

from adapters import evidence_reference as reference
from adapters.prediction_lines import AT, label, line
from adapters.test_prediction_log_evidence import (
    POLICY,
    START,
    THRESHOLDS,
    challenger,
    evidence,
    rollout,
    same,
    ship,
)
from towpath.adapters.prediction_log_compaction import Compaction
from towpath.adapters.prediction_log_places import FolderPlace
from towpath.adapters.prediction_log_reader import Reader
from towpath.core.errors import IntegrityError
from towpath.core.judge import Look, Moments, begin, judge
from towpath.core.judge_holds import prediction_distance

WINES = ("red", "rosé", "white")
UNCAPPED = {"latency": 2.0, "loss": 50.0, "brier": 3.0}
POLICY_OPEN = POLICY.model_copy(
    update={
        "guardrails": tuple(
            one.model_copy(update={"cap": UNCAPPED[one.name]}) if one.name in ("loss", "brier") else one
            for one in POLICY.guardrails
        )
    }
)


def open_ended(**changed: Any) -> Any:
    """A rollout whose caps are above every loss."""
    return rollout(**{"policy": POLICY_OPEN, "thresholds": UNCAPPED, **changed})


def classed(number: int, chances: Sequence[float] | None, classes: Sequence[str] = WINES, **changed: Any) -> Any:
    return line(number, **{"predictions": chances, "classes": list(classes), **changed})


def told(number: int, name: str, **changed: Any) -> dict[str, Any]:
    """The class that came true."""
    return {**{key: one for key, one in label(number).items() if key != "label"}, "class": name, **changed}


def moments(place: FolderPlace, name: str, **changed: Any) -> Moments:
    (stratum,) = evidence(place).look(open_ended(**changed)).strata
    return stratum.champion.means[name]


# -- against a plain reading -------------------------------------------------------------------------------------------

_CHANCES = st.lists(st.sampled_from([0.0, 0.05, 0.25, 0.4, 0.97, 1.0]), min_size=3, max_size=3)
_TIMES = st.integers(0, 12).map(lambda number: AT + number / 4)


@st.composite
def logs(draw: st.DrawFn) -> list[list[dict[str, Any]]]:
    """Files of lines and labels, with few units, keys and classes, one of which nobody was taught."""
    count, found = draw(st.integers(1, 16)), []
    for number in range(count):
        rows = draw(st.integers(1, 2))
        numbers = [one for _ in range(rows) for one in draw(_CHANCES)]
        found.append(
            classed(
                number,
                draw(st.sampled_from([numbers, numbers, numbers, None])),
                at=draw(_TIMES),
                step=draw(st.integers(0, 1)),
                weight=draw(st.sampled_from([0, 500, 5_000])),
                arm=draw(st.sampled_from(["champion", "challenger", "shadow"])),
                units=[draw(st.sampled_from(["N1", "N2", "N3", None])) for _ in range(rows)],
                buckets=[1] * rows,
                keys=[draw(st.sampled_from(["k0", "k1", None])) for _ in range(rows)],
                rows=[[1, "a"]] * rows,
                fallback=draw(st.sampled_from([None, None, "champion"])),
                error=draw(st.sampled_from([None, None, "late"])),
            )
        )
    for _ in range(draw(st.integers(0, 12))):
        made = {"at": draw(_TIMES), "row": draw(st.integers(0, 1))}
        if draw(st.booleans()):
            made |= {"request": None, "key": draw(st.sampled_from(["k0", "k1"]))}
        number, name = draw(st.integers(0, count)), draw(st.sampled_from([*WINES, "orange"]))
        found.append(told(number, name, **made))
    order = draw(st.permutations(found))
    cut = draw(st.integers(0, len(order)))
    return [list(order[:cut]), list(order[cut:])]


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(files=logs(), by_request=st.booleans())
def test_evidence_is_what_a_plain_reading_finds(files: list[list[dict[str, Any]]], by_request: bool) -> None:
    asked = open_ended(unit=None) if by_request else open_ended()
    with tempfile.TemporaryDirectory() as folder:
        place = FolderPlace(Path(folder))
        reader = evidence(place)
        for number, file in enumerate(files):
            ship(place, f"w{number}-1", file)
            reader.look(asked)
        found, again = reader.look(asked), evidence(place).look(asked)
        reader.close()
    assert found == again, "what is read bit by bit is what is read at once"
    same(found, reference.look([one for file in files for one in file], asked))
    judge(POLICY_OPEN, UNCAPPED, begin(POLICY_OPEN), found)  # the judge takes it


# -- against numpy and scikit-learn ------------------------------------------------------------------------------------


def test_losses_are_those_of_scikit_learn(tmp_path: Path) -> None:
    """Sure and right, sure and wrong, equal, tiny: 400 rows of five classes, in lines of one row and of many."""
    names = ("", "10", "9", "Übermut", "a'b\"c")
    generator = np.random.default_rng(7)
    chances = generator.dirichlet(np.full(5, 0.2), size=400)
    chances[:5], chances[5:10], chances[10] = np.eye(5), np.roll(np.eye(5), 1, axis=1), 0.2
    came = generator.integers(0, 5, size=400)
    came[:10] = np.tile(np.arange(5), 2)
    named = [names[one] for one in came]
    lines = [
        classed(
            number,
            chances[start : start + size].ravel().tolist(),
            names,
            units=[f"N{row}" for row in range(start, start + size)],
            buckets=[1] * size,
            keys=[f"k{row}" for row in range(start, start + size)],
            rows=[[1, "a"]] * size,
        )
        for number, (start, size) in enumerate(
            [*((row, 1) for row in range(100)), *((100 * n, 100) for n in (1, 2, 3))]
        )
    ]
    labels = [
        told(0, name, request=None, key=f"k{row}") if row % 2 else told(_asked(row)[0], name, row=_asked(row)[1])
        for row, name in enumerate(named)
    ]
    place = FolderPlace(tmp_path)
    ship(place, "w-1", [*lines[:60], *labels])
    ship(place, "w-2", lines[60:])
    found = moments(place, "loss")
    assert found.n == 400
    ordered = sorted(names)
    columns = chances[:, [names.index(one) for one in ordered]]
    assert found.total == pytest.approx(400 * log_loss(named, columns, labels=ordered), rel=1e-9)
    brier = moments(place, "brier")
    wanted = 400 * brier_score_loss(named, columns, labels=ordered, scale_by_half=False)
    assert brier.total == pytest.approx(wanted, rel=1e-9)
    single = ((chances - np.eye(5)[came]) ** 2).sum(axis=1)
    assert brier.squares == pytest.approx((single**2).sum(), rel=1e-8)
    assert single.max() == pytest.approx(2.0)


def _asked(row: int) -> tuple[int, int]:
    """The number of the request that a row was in, and its place there."""
    return (row, 0) if row < 100 else (99 + row // 100, row % 100)


@pytest.mark.parametrize(
    ("chances", "came", "loss", "brier"),
    [
        ([0.25, 0.5, 0.25], "rosé", -np.log(0.5), 0.375),
        ([0.0, 1.0, 0.0], "rosé", 0.0, 0.0),
        ([0.0, 1.0, 0.0], "red", -np.log(2.220446049250313e-16), 2.0),
        ([0.25, 0.5, 0.25], "orange", -np.log(2.220446049250313e-16), 1.375),  # nobody was taught it
        ([0.25, 0.5, 0.25], "", -np.log(2.220446049250313e-16), 1.375),
        ([0.0, 0.0, 0.0], "white", -np.log(2.220446049250313e-16), 1.0),
        ([1e-300, 1.0, 1e-300], "white", -np.log(2.220446049250313e-16), 2.0),
    ],
)
def test_what_one_row_counts(tmp_path: Path, chances: list[float], came: str, loss: float, brier: float) -> None:
    place = FolderPlace(tmp_path)
    ship(place, "w-1", [classed(1, chances), told(1, came)])
    for name, value in (("loss", loss), ("brier", brier)):
        nano = round(float(value) * 1e9)
        assert moments(place, name) == Moments(n=1, total=nano / 1e9, squares=nano**2 / 10**18)


def test_a_units_value_is_capped_row_by_row(tmp_path: Path) -> None:
    place = FolderPlace(tmp_path)
    one = classed(1, [0.5, 0.5, 0.0], units=["N1"])
    ship(place, "w-1", [one, classed(2, [0.5, 0.5, 0.0], units=["N1"]), told(1, "red"), told(2, "white")])
    (stratum,) = evidence(place).look(rollout()).strata
    assert stratum.champion.means["loss"].n == 1
    assert stratum.champion.means["loss"].total == pytest.approx((np.log(2) + THRESHOLDS["loss"]) / 2, abs=1e-9)


def test_a_row_without_probabilities_is_not_measured(tmp_path: Path) -> None:
    """A failed one; and what no gateway writes: a gap, no number, nothing at all."""
    place = FolderPlace(tmp_path)
    ship(place, "w-1", [classed(number, [0.25, 0.5, 0.25]) for number in range(5)] + [classed(9, None, error="late")])
    ship(place, "w-2", [told(number, "red") for number in (*range(5), 9)])
    (file,) = tmp_path.rglob("predictions/*/*.parquet")
    table = pq.read_table(file)
    maps = table["probabilities"].to_pylist()
    maps[0], maps[1] = [("red", float("nan")), ("rosé", 0.5)], [("red", 0.5), ("rosé", None)]
    maps[2], maps[3] = [("red", float("inf"))], []
    place_of = table.schema.get_field_index("probabilities")
    kind = table.schema.field("probabilities").type
    table = table.set_column(place_of, "probabilities", pa.array(maps, kind))
    pq.write_table(table, file)
    for name, total in (("loss", -np.log(0.25)), ("brier", 0.75**2 + 0.5**2 + 0.25**2)):
        found = moments(place, name)
        assert (found.n, found.total) == (1, pytest.approx(total, abs=1e-9))


def test_a_class_that_the_log_has_no_entry_for_was_given_nothing(tmp_path: Path) -> None:
    place = FolderPlace(tmp_path)
    ship(place, "w-1", [classed(1, [0.75, 0.25], ("red", "white")), told(1, "rosé")])
    assert moments(place, "loss").total == pytest.approx(36.0436533891)
    assert moments(place, "brier").total == pytest.approx(0.75**2 + 0.25**2 + 1)


# -- labels ------------------------------------------------------------------------------------------------------------


def test_the_first_class_wins_and_of_two_at_once_the_lesser(tmp_path: Path) -> None:
    place = FolderPlace(tmp_path)
    ship(place, "w-1", [classed(1, [0.5, 0.3, 0.2]), classed(2, [0.5, 0.3, 0.2])])
    first = [told(1, "red", at=AT + 2), told(1, "white", request=None, key="k1", at=AT + 1)]
    ship(place, "w-2", [*first, told(2, "white"), told(2, "rosé")])
    assert moments(place, "loss").total == pytest.approx(-np.log(0.2) - np.log(0.3), abs=1e-8)


def test_a_number_that_came_first_hides_no_class(tmp_path: Path) -> None:
    """A project's model may have been binary before it was one of classes; its labels are none of these."""
    place = FolderPlace(tmp_path)
    ship(place, "w-1", [classed(1, [0.5, 0.25, 0.25], ("0", "1", "2")), label(1, label=1, at=AT - 1)])
    assert moments(place, "loss").n == 0
    ship(place, "w-2", [told(1, "0", request=None, key="k1", at=AT + 60)])
    assert moments(place, "loss").total == pytest.approx(np.log(2), abs=1e-9)


# -- what the rest of the judge reads ----------------------------------------------------------------------------------


def _sure(number: int, name: str, **changed: Any) -> Any:
    return classed(number, [0.8 if one == name else 0.1 for one in WINES], **changed)


def test_predictions_are_compared_by_class(tmp_path: Path) -> None:
    """All of the arms' predictions lie in one bin of twenty, and they are not alike at all."""
    place = FolderPlace(tmp_path)
    ship(place, "w-1", [_sure(n, "red" if n % 2 else "white") for n in range(400)])
    others = [_sure(n, "white", arm="challenger") for n in range(400, 800)]
    stood_in = [_sure(n, "rosé", arm="challenger", fallback="champion") for n in range(800, 900)]
    ship(place, "w-2", [*others, *stood_in, classed(901, None, arm="challenger", error="late")])
    found = evidence(place).look(rollout()).strata
    assert (found[0].champion.scores, found[0].challenger.scores) == ((200, 200), (0, 400))
    assert prediction_distance(found) == pytest.approx(0.55, abs=0.05)


def test_errors_fallbacks_and_latency_are_counted_as_ever(tmp_path: Path) -> None:
    place = FolderPlace(tmp_path)
    bad = {"units": ["N1"], "latency_ms": 2.5, "error": "late", "fallback": "champion"}
    lines = [challenger(1, predictions=[0.2, 0.3, 0.5], classes=list(WINES), **bad), _sure(2, "red")]
    ship(place, "w-1", lines)
    found = evidence(place).look(rollout())
    assert dict(found.strata[0].challenger.bad) == {"errors": 1, "fallbacks": 1, "latency": 1}
    assert dict(found.strata[0].champion.bad) == {"errors": 0, "fallbacks": 0, "latency": 0}
    assert found.hard == {"errors": (1, 1), "latency": (1, 1)}


def test_a_baseline_of_a_multiclass_champion(tmp_path: Path) -> None:
    place = FolderPlace(tmp_path)
    lines = [_sure(n, "red", units=[f"N{n}"]) for n in range(100)]
    ship(place, "w-1", [*lines, *(told(n, "white" if n < 3 else "red") for n in range(100))])
    found = evidence(place).baseline("flights", model="sha256:1", policy=POLICY, since=START)
    assert found is not None
    assert found.thresholds["loss"] == pytest.approx(-np.log(0.1), abs=1e-6)
    values = np.array([1.46 if n < 3 else 0.06 for n in range(100)])
    assert found.rates["brier"] == pytest.approx(np.minimum(values, 0.9).std(ddof=1))


def test_the_same_log_gives_the_same_look_to_the_last_bit(tmp_path: Path) -> None:
    """In other files, in another order, merged, and beside files of before there were classes."""
    generator = np.random.default_rng(3)
    count = 2_000
    chances = generator.dirichlet(np.full(3, 0.4), size=count)
    arms = np.where(generator.random(count) < 0.5, "champion", "challenger")
    lines = [
        classed(n, chances[n].tolist(), arm=str(arms[n]), units=[f"N{n % 997}"], weight=5_000) for n in range(count)
    ]
    labels = [told(n, WINES[n % 3]) for n in range(count)]
    old = [line(n, rollout=None, model="sha256:0", at=AT - 3_600) for n in range(100_000, 100_050)]
    looks: list[Look] = []
    for number, size in enumerate((2_000, 350)):
        place = FolderPlace(tmp_path / str(number))
        ship(place, "a-1", [*old, *(label(n) for n in range(100_000, 100_050))])
        order = generator.permutation(count)
        for part, start in enumerate(range(0, count, size)):
            some = order[start : start + size]
            ship(place, f"w-{part}", [*(lines[n] for n in some), *(labels[n] for n in some[::-1])])
        looks.append(evidence(place).look(open_ended()))
    place = FolderPlace(tmp_path / "1")
    later = datetime.fromtimestamp(AT, tz=UTC) + timedelta(days=1)
    assert Compaction(place, clock=lambda: later).run("flights", workers={"a", "w"}) > 1
    looks.append(evidence(place).look(open_ended()))
    bare = [one.model_dump(exclude={"watermark"}) for one in looks]
    assert bare[0] == bare[1] == bare[2]
    assert looks[1].watermark == looks[2].watermark


def test_what_a_file_has_more_or_less_of_is_read(tmp_path: Path) -> None:
    """A batch of files of both kinds, whichever comes first."""
    for folder, first in (("a", False), ("b", True)):
        place = FolderPlace(tmp_path / folder)
        for number, several in enumerate((first, not first)):
            made = [classed(number, [0.5, 0.3, 0.2]), told(number, "red")] if several else [line(9, rollout=None)]
            ship(place, f"w{number}-1", made)
        reader = Reader(place, "flights", column="rollout", value="flights-1", since=START)
        reader.refresh(datetime.fromtimestamp(AT, tz=UTC).date())
        assert reader.classed
        assert reader.ask("SELECT predicted, probabilities FROM log") == [
            ("red", {"red": 0.5, "rosé": 0.3, "white": 0.2})
        ]
        reader.close()


LACKING = [("predictions", "error"), ("predictions", "arm"), ("predictions", "prediction"), ("labels", "label")]


@pytest.mark.parametrize(
    ("kind", "column", "of_classes"),
    [*((*one, several) for one in LACKING for several in (False, True)), ("predictions", "probabilities", True)],
)
def test_a_file_that_lacks_a_column_cannot_be_read(tmp_path: Path, kind: str, column: str, of_classes: bool) -> None:
    """Beside one that has it: failures of whoever wrote it would not be counted, and its rows not judged."""
    place = FolderPlace(tmp_path)
    ship(place, "w0-1", [line(2), label(2)])
    ship(place, "w1-1", [classed(1, [0.5, 0.3, 0.2]), told(1, "red")])
    (file,) = tmp_path.rglob(f"{kind}/*/w{int(of_classes)}*.parquet")
    pq.write_table(pq.read_table(file).drop_columns([column]), file)
    reader = Reader(place, "flights", column="rollout", value="flights-1", since=START)
    with pytest.raises(IntegrityError, match=f"cannot be read: .*{column}"):
        reader.refresh(datetime.fromtimestamp(AT, tz=UTC).date())
    reader.close()


@pytest.mark.parametrize("said", ["yes", 300])
def test_labels_that_no_log_writes_cannot_be_read(tmp_path: Path, said: object) -> None:
    place = FolderPlace(tmp_path)
    ship(place, "w-1", [line(1), label(1)])
    (file,) = tmp_path.rglob("labels/*/*.parquet")
    table = pq.read_table(file)
    pq.write_table(table.set_column(table.schema.get_field_index("label"), "label", pa.array([said])), file)
    reader = Reader(place, "flights", column="rollout", value="flights-1", since=START)
    with pytest.raises(IntegrityError, match="cannot be read"):
        reader.refresh(datetime.fromtimestamp(AT, tz=UTC).date())
    reader.close()
