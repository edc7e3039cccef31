"""The evidence of a rollout: the same as a plain reading of the lines, whatever came when and in which files."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters import evidence_reference as reference
from adapters.prediction_lines import AT, label, line, spool
from adapters.test_prediction_log import s3_settings
from towpath import wiring
from towpath.adapters.prediction_log import PredictionLog
from towpath.adapters.prediction_log_counts import settled
from towpath.adapters.prediction_log_evidence import PredictionLogEvidence
from towpath.adapters.prediction_log_places import BucketPlace, FolderPlace, Place
from towpath.core.errors import IntegrityError
from towpath.core.judge import Look, Seen, begin, judge
from towpath.core.rollout import Contender, Phase, Rollout
from towpath.core.rollout_policy import RolloutPolicy
from towpath.settings import Settings

START = datetime.fromtimestamp(AT, tz=UTC) - timedelta(minutes=5)
POLICY = RolloutPolicy.model_validate(
    {
        "unit": "tailnum",
        "steps": [{"weight": 5, "until": {"minUnits": 3}}, {"weight": 50, "until": {"promotion": True}}],
        "guardrails": [
            {"name": "errors", "type": "rate", "event": "error", "share": 0.2},
            {"name": "fallbacks", "type": "rate", "event": "fallback", "share": 0.2},
            {"name": "latency", "type": "exceedance", "of": "latency_ms", "threshold": "championP99", "share": 0.3},
            {"name": "loss", "type": "mean", "of": "log_loss", "cap": "championP99", "labels": "delayed", "share": 0.2},
            {"name": "brier", "type": "mean", "of": "brier", "cap": 0.9, "labels": "delayed", "share": 0.1},
        ],
        "promotion": [{"metric": "errors", "nonInferior": {"ratio": 1.5}}],
        "hardLimits": [{"metric": "errors", "max": 0.2}, {"metric": "latency", "max": 0.2}],
    }
)
THRESHOLDS = {"latency": 2.0, "loss": 1.0, "brier": 0.9}
ONE = Contender(candidate="flights-abc", digest="sha256:a", model="sha256:1", version="3")


def rollout(**changed: Any) -> Rollout:
    return Rollout(
        rollout_id="flights-1",
        project="flights",
        generation=2,
        phase=Phase.PROGRESSING,
        step=1,
        weight=500,
        salt="00" * 16,
        unit="tailnum",
        champion=ONE,
        challenger=ONE,
        policy=POLICY,
        policy_digest="sha256:p",
        thresholds=THRESHOLDS,
        phase_since=START,
        step_since=START,
        judge=begin(POLICY),
        started_by="Ada",
        started_at=START,
    ).model_copy(update=changed)


@pytest.fixture(params=["folder", "rclone"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "folder":
        return FolderPlace(tmp_path / "log")
    bucket = request.getfixturevalue("rclone_s3").new_bucket()
    return BucketPlace(bucket.name, "log", settings=s3_settings(bucket), cache=tmp_path / "cache")


def ship(place: Place, name: str, lines: Sequence[Mapping[str, Any]]) -> None:
    """Lines as a worker's file: `<worker>-<n>`."""
    worker, _, number = name.rpartition("-")
    with tempfile.TemporaryDirectory() as folder:
        PredictionLog(place).ship(spool(Path(folder) / worker / f"{number}.jsonl", lines))


def evidence(place: Place) -> PredictionLogEvidence:
    return PredictionLogEvidence(place, clock=lambda: datetime.fromtimestamp(AT, tz=UTC))


def challenger(number: int, **changed: Any) -> dict[str, Any]:
    return line(number, **{"arm": "challenger", **changed})


# -- against a plain reading -------------------------------------------------------------------------------------------

_units = st.one_of(st.none(), st.sampled_from(["N1", "N2", "N3", "N4"]))
_moments = st.integers(0, 20).map(lambda number: AT + number / 4)


@st.composite
def logs(draw: st.DrawFn) -> list[list[dict[str, Any]]]:
    """Files of lines and labels, with few units, so that they meet again in other strata, arms and files."""
    count = draw(st.integers(0, 25))
    found: list[dict[str, Any]] = []
    for number in range(count):
        rows = draw(st.integers(1, 2))
        chances = st.lists(st.one_of(st.none(), st.sampled_from([0.0, 0.05, 0.3, 0.5, 0.97, 1.0])), min_size=rows,
                           max_size=rows)  # fmt: skip
        found.append(
            line(
                number,
                at=draw(_moments),
                rollout=draw(st.sampled_from(["flights-1", "flights-1", "flights-1", "flights-2", None])),
                step=draw(st.integers(0, 1)),
                weight=draw(st.sampled_from([0, 500, 5_000])),
                arm=draw(st.sampled_from(["champion", "challenger", "champion", "challenger", "shadow"])),
                units=[draw(_units) for _ in range(rows)],
                buckets=[1] * rows,
                keys=[draw(st.sampled_from(["k0", "k1", "k2", None])) for _ in range(rows)],
                rows=[[1, "a"]] * rows,
                predictions=draw(st.one_of(st.none(), chances)),
                latency_ms=draw(st.sampled_from([1.0, 2.0, 2.5])),
                fallback=draw(st.sampled_from([None, None, None, "champion"])),
                error=draw(st.sampled_from([None, None, None, "late"])),
            )
        )
    for _ in range(draw(st.integers(0, 12))):
        by_key = draw(st.booleans())
        found.append(
            label(
                draw(st.integers(0, max(count, 1))),
                at=draw(_moments),
                row=draw(st.integers(0, 1)),
                label=draw(st.integers(0, 1)),
                **({"request": None, "key": draw(st.sampled_from(["k0", "k1", "k2"]))} if by_key else {}),
            )
        )
    order = draw(st.permutations(found))
    cuts = sorted(draw(st.lists(st.integers(0, len(order)), max_size=3)))
    return [list(order[start:end]) for start, end in zip([0, *cuts], [*cuts, len(order)], strict=True)]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(files=logs(), by_request=st.booleans())
def test_evidence_is_what_a_plain_reading_finds(files: list[list[dict[str, Any]]], by_request: bool) -> None:
    asked = rollout(unit=None) if by_request else rollout()
    lines = [one for file in files for one in file]
    with tempfile.TemporaryDirectory() as folder:
        place = FolderPlace(Path(folder))
        reader = evidence(place)
        for number, file in enumerate(files):
            ship(place, f"w{number % 2}-{number}", file)
            reader.look(asked)
        found, again = reader.look(asked), evidence(place).look(asked)
        reader.close()
    assert found == again, "what is read bit by bit is what is read at once"
    same(found, reference.look(lines, asked))
    judge(POLICY, THRESHOLDS, begin(POLICY), found)  # the judge takes it


def same(found: Look, expected: Look) -> None:
    """Equal but for the watermark, and for sums in their last digits."""
    assert found.model_dump(exclude={"watermark", "strata"}) == expected.model_dump(exclude={"watermark", "strata"})
    assert [(one.step, one.weight) for one in found.strata] == [(one.step, one.weight) for one in expected.strata]
    for mine, theirs in zip(found.strata, expected.strata, strict=True):
        for one, other in ((mine.champion, theirs.champion), (mine.challenger, theirs.challenger)):
            assert one.model_dump(exclude={"means"}) == other.model_dump(exclude={"means"})
            assert one.means.keys() == other.means.keys()
            for name, moments in one.means.items():
                assert moments.n == other.means[name].n
                assert moments.total == pytest.approx(other.means[name].total, abs=1e-6)
                assert moments.squares == pytest.approx(other.means[name].squares, abs=1e-6)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(files=logs())
def test_what_was_judged_never_falls_in_whatever_order_files_come(files: list[list[dict[str, Any]]]) -> None:
    asked, state = rollout(), begin(POLICY)
    with tempfile.TemporaryDirectory() as folder:
        place = FolderPlace(Path(folder))
        for number, file in enumerate(files):
            ship(place, f"w-{len(files) - number}", file)
            found = evidence(place).look(asked.model_copy(update={"judge": state}))
            state, _ = judge(POLICY, THRESHOLDS, state, found)  # refuses counts that fell
        fresh = evidence(place).look(asked)
    for name in ("errors", "fallbacks", "latency"):
        assert _bad(found, name) == _bad(fresh, name), "a unit counts once, wherever"


def _bad(found: Look, name: str) -> int:
    return sum(arm.bad.get(name, 0) for one in found.strata for arm in (one.champion, one.challenger))


_places = st.tuples(st.integers(0, 2), st.sampled_from([500, 5_000]), st.sampled_from(["challenger", "champion"]))
_counts = st.dictionaries(_places, st.integers(0, 5))


@given(found=_counts, judged=_counts)
def test_settled_counts(found: dict[Any, int], judged: dict[Any, int]) -> None:
    kept = settled(found, judged)
    assert sum(kept.values()) == sum(found.values())
    if sum(found.values()) >= sum(judged.values()):
        assert all(kept[place] >= count for place, count in judged.items())
    if all(found.get(place, 0) >= count for place, count in judged.items()):
        assert {place: count for place, count in kept.items() if count} == {p: c for p, c in found.items() if c}


# -- one by one --------------------------------------------------------------------------------------------------------


def test_a_unit_that_is_bad_again_counts_where_it_was_bad_first(log: Place) -> None:
    ship(log, "w-1", [challenger(1, units=["N1"], at=AT + 2, error="late", step=1, weight=5_000)])
    ship(log, "w-2", [line(2, units=["N1"], at=AT + 1, error="late", step=0, weight=500)])
    found = evidence(log).look(rollout())
    assert [(one.step, one.champion.bad["errors"], one.challenger.bad["errors"]) for one in found.strata] == [
        (0, 1, 0),
        (1, 0, 0),
    ]
    assert found.hard["errors"] == (1, 1), "for a hard limit all of the challenger's bad units count"
    judged = rollout(judge=begin(POLICY).model_copy(update={
        "seen": (Seen(step=1, weight=5_000, bad={"errors": (0, 1)}),)}))  # fmt: skip
    found = evidence(log).look(judged)
    assert [(one.champion.bad["errors"], one.challenger.bad["errors"]) for one in found.strata] == [(0, 0), (0, 1)]


def test_a_late_label_counts_under_the_weight_at_assignment(log: Place) -> None:
    ship(log, "w-1", [challenger(1, step=0, weight=500, predictions=[0.5])])
    reader = evidence(log)
    before = reader.look(rollout())
    assert before.strata[0].challenger.means["loss"].n == 0
    ship(log, "w-2", [label(1, at=AT + 60), line(9, step=1, weight=5_000, at=AT + 60)])
    after = reader.look(rollout())
    assert after.strata[0].challenger.means["loss"].n == 1
    assert after.strata[0].challenger.means["loss"].total == pytest.approx(0.693147, abs=1e-6)
    assert after.watermark != before.watermark


def test_the_first_label_wins(log: Place) -> None:
    ship(log, "w-1", [line(1, predictions=[0.9])])
    ship(log, "w-2", [label(1, label=0, at=AT + 2), label(1, request=None, key="k1", label=1, at=AT + 1)])
    assert evidence(log).look(rollout()).strata[0].champion.means["loss"].total == pytest.approx(0.105361, abs=1e-6)


def test_a_class_that_came_first_hides_no_label(log: Place) -> None:
    """A project's model may have been one of classes before it was binary."""
    ship(log, "w-1", [line(1, predictions=[0.9])])
    named = label(1, at=AT + 1) | {"label": None, "class": "red"}
    ship(log, "w-2", [named, label(1, request=None, key="k1", label=1, at=AT + 2)])
    assert evidence(log).look(rollout()).strata[0].champion.means["loss"].total == pytest.approx(0.105361, abs=1e-6)


def test_shadow_and_units_that_nobody_named_are_no_exposure(log: Place, caplog: pytest.LogCaptureFixture) -> None:
    ship(log, "w-1", [line(1), line(1, arm="shadow", error="crashed"), line(2, units=[None])])
    with caplog.at_level("INFO"):
        found = evidence(log).look(rollout())
    assert [(one.champion.units, one.challenger.units) for one in found.strata] == [(1, 0)]
    assert found.hard["errors"] == (0, 0)
    assert found.requests == 2
    assert "rows without a unit, not judged: 1" in caplog.text


def test_nothing_logged_is_an_empty_look(log: Place) -> None:
    found = evidence(log).look(rollout())
    assert (found.requests, found.strata, found.hard["errors"]) == (0, (), (0, 0))
    assert evidence(log).telemetry(rollout()).at is None
    assert evidence(log).baseline("flights", model="sha256:1", policy=POLICY, since=START) is None


def test_without_a_frozen_threshold_a_metric_is_not_measured(log: Place) -> None:
    ship(log, "w-1", [line(1)])
    arm = evidence(log).look(rollout(thresholds={})).strata[0].champion
    assert (set(arm.bad), set(arm.means)) == ({"errors", "fallbacks"}, {"brier"})


def test_a_file_that_came_anew_is_read_anew(log: Place) -> None:
    reader = evidence(log)
    ship(log, "w-1", [line(1)])
    assert reader.look(rollout()).requests == 1
    ship(log, "w-1", [line(1), line(2)])
    assert reader.look(rollout()).requests == 2


def test_a_file_that_is_broken_is_an_integrity_error(tmp_path: Path) -> None:
    ship(FolderPlace(tmp_path), "w-1", [line(1)])
    (file,) = tmp_path.rglob("*.parquet")
    file.write_bytes(b"PAR1 and nothing")
    with pytest.raises(IntegrityError, match="cannot be read"):
        evidence(FolderPlace(tmp_path)).look(rollout())


# -- telemetry and baseline --------------------------------------------------------------------------------------------


def test_telemetry_says_who_is_heard_and_holds_the_rollout(log: Place) -> None:
    reader = evidence(log)
    ship(log, "w1-1", [line(1, rollout=None, at=AT)])
    found = reader.telemetry(rollout())
    assert (found.at, found.ready) == (datetime.fromtimestamp(AT, tz=UTC), False)
    ship(log, "w1-2", [line(2, at=AT + 1)])
    assert reader.telemetry(rollout()).ready
    ship(log, "w2-1", [line(3, rollout=None, at=AT + 2)])
    assert not reader.telemetry(rollout()).ready, "another gateway does not hold it yet"
    ship(log, "w1-3", [line(4, at=AT + 90)])
    assert reader.telemetry(rollout()).ready, "one that is silent for long has ended"
    PredictionLog(log).write([line(5, rollout=None, at=AT + 91)], name="batch-1")
    assert reader.telemetry(rollout()).ready, "batch scoring is no gateway"
    ship(log, "w1-4", [line(6, arm="shadow", units=["N1"], error="crashed"), line(7, arm="shadow", units=["N1"])])
    ship(log, "w1-5", [line(8, arm="shadow", units=["N2"])])
    found = reader.telemetry(rollout())
    assert (found.shadowed, found.shadow_failed) == (2, 1)


def test_a_baseline_of_the_champion(log: Place) -> None:
    lines = [line(n, latency_ms=float(n), units=[f"N{n % 50}"], error="x" if n % 50 == 0 else None) for n in range(101)]
    labels = [label(number, label=0) for number in range(101)]
    others = [challenger(500, latency_ms=900.0), line(501, model="sha256:2", latency_ms=900.0), line(502, at=AT - 200)]
    ship(log, "w-1", [*lines, *labels, *others])
    since = datetime.fromtimestamp(AT - 100, tz=UTC)
    found = evidence(log).baseline("flights", model="sha256:1", policy=POLICY, since=since)
    assert found is not None
    assert (found.requests, found.units, found.until) == (101, 50, datetime.fromtimestamp(AT, tz=UTC))
    assert found.thresholds == {"latency": pytest.approx(99.0), "loss": pytest.approx(0.693147, abs=1e-6)}
    assert found.rates["errors"] == pytest.approx(1 / 50)
    assert found.rates["latency"] == pytest.approx(1 / 50)
    assert found.rates["loss"] == pytest.approx(0, abs=1e-9)


def test_wiring_opens_it(tmp_path: Path) -> None:
    opened = wiring.open_evidence(Settings.read({"TOWPATH_ACTOR": "test"}, folder=tmp_path))
    assert opened.look(rollout(started_at=datetime.now(UTC))).requests == 0
