"""Compaction: the evidence is the same to the digit before it, after it, and at whatever moment it is stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.prediction_lines import AT, label, line
from adapters.test_prediction_log import log_place  # noqa: F401 - a fixture
from adapters.test_prediction_log_evidence import (
    POLICY,
    START,
    challenger,
    evidence,
    log,  # noqa: F401 - a fixture
    logs,
    rollout,
    ship,
)
from towpath.adapters import prediction_log_merging as merging
from towpath.adapters.prediction_log import PredictionLog
from towpath.adapters.prediction_log_compaction import Compaction
from towpath.adapters.prediction_log_labels import LabelTables
from towpath.adapters.prediction_log_parts import parts_of, tier_of
from towpath.adapters.prediction_log_places import FolderPlace, Place, Stored
from towpath.core.errors import IntegrityError
from towpath.core.judge import Look

pytestmark = pytest.mark.slow

NOW = datetime.fromtimestamp(AT, tz=UTC)
LATER = NOW + timedelta(days=1)


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three files make a group, so that few files make many."""
    monkeypatch.setattr(merging, "AT_ONCE", 3)


class Watched:
    """A place that says what is done to it, before it is done."""

    def __init__(self, place: Place, told: Callable[[str], None]) -> None:
        self._place = place
        self._told = told

    def put(self, file: Path, name: str) -> None:
        self._told("put")
        self._place.put(file, name)

    def list(self, folder: str, *, since: str = "") -> list[Stored]:
        self._told("list")
        return self._place.list(folder, since=since)

    def local(self, stored: Stored) -> Path | None:
        self._told("local")
        return self._place.local(stored)

    def forget(self, stored: Stored) -> None:
        self._place.forget(stored)

    def remove(self, stored: Stored) -> None:
        self._told("remove")
        self._place.remove(stored)


class Killed(BaseException):
    """The end of a process, as far as what it had stored is concerned."""


def compact(place: Place, *, at: datetime = NOW, workers: Sequence[str] = ("w0", "w1"), times: int = 2) -> int:
    one = Compaction(place, clock=lambda: at)
    return sum(one.run("flights", workers=set(workers)) for _ in range(times))


def counted(done: Callable[[Place], object], place: Place) -> int:
    """How many operations something takes."""
    seen: list[str] = []
    done(Watched(place, seen.append))
    return len(seen)


def at_the(number: int, then: Callable[[], object]) -> Callable[[str], None]:
    """Does something once, before the operation of that number."""
    left = [number]

    def told(_: str) -> None:
        left[0] -= 1
        if left[0] == -1:
            then()

    return told


def files(place: Place) -> list[str]:
    return [stored.name for stored in place.list("flights")]


def requests(place: Place) -> list[str]:
    """Every row of every file, by its request."""
    found = []
    for stored in place.list("flights"):
        path = place.local(stored)
        assert path is not None
        found += pq.read_table(path, columns=["request"])["request"].to_pylist()
    return sorted(found)


def fill(place: Place, count: int = 10) -> None:
    """Seconds of two workers, with labels, a unit that is bad twice, and a request of two rows."""
    for number in range(count):
        ship(
            place,
            f"w{number % 2}-{number:08}",
            [
                line(3 * number, at=AT + number / 8, units=[f"N{number % 4}"], latency_ms=1.0 + number / 3),
                challenger(3 * number + 1, at=AT + number / 8, units=[f"N{number % 3}"], predictions=[0.1 * number],
                           error="late" if number % 3 == 0 else None),
                challenger(3 * number + 2, at=AT - number, units=["N7", None], buckets=[1, None], keys=["k", None],
                           rows=[[1, "a"], [2, "b"]], predictions=[0.3, None], weight=5_000, step=1),
                label(3 * number, label=number % 2), label(3 * number - 2, at=AT + 1, label=1),
            ],
        )  # fmt: skip


def seen(place: Place) -> tuple[Look, Any, Any]:
    """All that a process which begins anew finds."""
    reader = evidence(place)
    try:
        baseline = reader.baseline("flights", model="sha256:1", policy=POLICY, since=START)
        return reader.look(rollout()), reader.telemetry(rollout()), baseline
    finally:
        reader.close()


# -- the same evidence -------------------------------------------------------------------------------------------------


def test_evidence_before_is_evidence_after_and_at_every_step_between(log: Place) -> None:  # noqa: F811
    fill(log, 6)
    before, count = seen(log), len(files(log))
    living = evidence(log)
    assert living.look(rollout()) == before[0]

    def same(_: str) -> None:
        assert seen(log) == before, "a process that begins anew"
        assert (living.look(rollout()), living.telemetry(rollout())) == before[:2], "one that has read before"

    assert compact(Watched(log, same)) == 2 * 6, "three of each worker and kind"
    assert len(files(log)) < count
    same("after the last step")
    assert compact(log, at=LATER) > 0
    same("after the day")
    assert [tier_of(name) for name in files(log)] == [3, 3]
    living.close()


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(lines=logs(), over=st.booleans(), by_request=st.booleans())
def test_any_log_reads_the_same_when_it_is_merged(lines: list[Any], over: bool, by_request: bool) -> None:
    asked = rollout(unit=None) if by_request else rollout()
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(merging, "AT_ONCE", 2)
        place = FolderPlace(Path(folder))
        for number, file in enumerate(lines):
            ship(place, f"w{number % 2}-{number}", file)
        before = evidence(place).look(asked)
        compact(place, at=LATER if over else NOW)
        assert evidence(place).look(asked) == before


def test_what_was_read_is_not_read_again_when_it_is_merged(log: Place) -> None:  # noqa: F811
    fill(log)
    reader = evidence(log)
    first = reader.look(rollout())
    compact(log)
    assert reader.look(rollout()) is first, "nothing new was read"
    ship(log, "w0-00000099", [line(99)])
    assert reader.look(rollout()).requests == first.requests + 1


# -- stopped, doubled, in parallel -------------------------------------------------------------------------------------


def test_killed_at_any_step_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    fill(FolderPlace(tmp_path / "all"))
    before, whole = seen(FolderPlace(tmp_path / "all")), requests(FolderPlace(tmp_path / "all"))
    steps = counted(compact, FolderPlace(tmp_path / "all"))
    assert steps > 40

    def kill() -> None:
        raise Killed

    for number in range(0, steps, 3):
        place = FolderPlace(tmp_path / str(number))
        fill(place)
        with pytest.raises(Killed):
            compact(Watched(place, at_the(number, kill)))
        assert seen(place) == before
        compact(place)
        assert seen(place) == before
        assert requests(place) == whole, "what was left behind is removed"
        assert files(place) == files(FolderPlace(tmp_path / "all")), "the same files in the end"


@pytest.mark.parametrize("over", [False, True])
def test_two_at_once(over: bool, tmp_path: Path) -> None:
    at = LATER if over else NOW
    fill(FolderPlace(tmp_path / "all"))
    before = seen(FolderPlace(tmp_path / "all"))
    steps = counted(lambda place: compact(place, at=at), FolderPlace(tmp_path / "all"))
    for number in range(0, steps, 4):
        place = FolderPlace(tmp_path / str(number))
        fill(place)
        compact(Watched(place, at_the(number, lambda place=place: compact(place, at=at))), at=at)  # type: ignore[misc]
        assert seen(place) == before
        compact(place, at=LATER)
        assert seen(place) == before


@pytest.mark.parametrize("first_looked", [False, True])
def test_a_reader_in_whose_midst_files_are_merged(first_looked: bool, log: Place) -> None:  # noqa: F811
    fill(log, 4)
    for number in range(0, 16, 1 if isinstance(log, FolderPlace) else 3):
        told: list[Callable[[str], None]] = [lambda _: None]
        reader = evidence(Watched(log, lambda what, told=told: told[0](what)))  # type: ignore[misc]
        if first_looked:
            reader.look(rollout())
        for second in range(8 + number, 11 + number):
            ship(log, f"w{number}-{second:08}", [line(1_000 * number + second), challenger(2_000 * number + second)])
        expected = evidence(log).look(rollout())
        told[0] = at_the(number, lambda worker=f"w{number}": compact(log, workers=[worker]))  # type: ignore[misc]
        assert reader.look(rollout()) == expected
        reader.close()


_COMPACT = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from towpath.adapters.prediction_log_compaction import Compaction
from towpath.adapters.prediction_log_places import FolderPlace

one = Compaction(FolderPlace(Path(sys.argv[1])), clock=lambda: datetime.fromtimestamp(float(sys.argv[2]), tz=UTC))
sys.stdout.write("ready\\n"); sys.stdout.flush()
while one.run("flights", workers={"w0", "w1"}):
    pass
"""


@pytest.mark.parametrize("after", [0.0, 0.02, 0.05, 0.1, 0.2])
def test_a_process_that_is_killed_while_others_read(tmp_path: Path, after: float) -> None:
    place = FolderPlace(tmp_path)
    fill(place, 200)
    before = evidence(place).look(rollout())
    command = [sys.executable, "-c", _COMPACT, str(tmp_path), str(AT)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    child = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
    assert child.stdout is not None
    child.stdout.readline()
    living = evidence(place)
    until = time.monotonic() + after
    while True:
        assert living.look(rollout()) == before
        if time.monotonic() >= until:
            break
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert living.look(rollout()) == evidence(place).look(rollout()) == before
    subprocess.run(command, check=True, capture_output=True, env=environment)
    assert living.look(rollout()) == evidence(place).look(rollout()) == before
    assert len(files(place)) == 2 * 2 * (1 + 40), "sixty of each worker and kind are one"
    living.close()


def test_again_changes_nothing(log_place: Place) -> None:  # noqa: F811
    fill(log_place)
    compact(log_place, at=LATER)
    before = log_place.list("flights")
    assert compact(log_place, at=LATER) == 0
    assert log_place.list("flights") == before


def test_a_file_that_is_shipped_again_after_it_was_merged_counts_once(tmp_path: Path) -> None:
    """As after a kill between storing a file and removing it from the spool."""
    place = FolderPlace(tmp_path)
    fill(place)
    before = seen(place)
    living = evidence(place)
    living.look(rollout())
    compact(place)
    count = len(files(place))
    fill(place)
    assert len(files(place)) > count
    assert (living.look(rollout()), seen(place)) == (before[0], before)
    compact(place)
    assert (living.look(rollout()), seen(place)) == (before[0], before)
    assert len(files(place)) == count


def test_a_file_that_came_anew_is_read_anew(tmp_path: Path) -> None:
    place = FolderPlace(tmp_path)
    for number in range(3):
        ship(place, f"w0-{number}", [line(number)])
    compact(place)
    living = evidence(place)
    assert living.look(rollout()).requests == 3
    ship(place, "w0-1", [line(1), line(11), line(12)])
    for at in (NOW, LATER):
        assert living.look(rollout()).requests == evidence(place).look(rollout()).requests == 5
        compact(place, at=at)
    assert living.look(rollout()).requests == 5


# -- what is merged ----------------------------------------------------------------------------------------------------


def test_while_a_day_lasts_each_merges_its_own_and_then_anybody_all(tmp_path: Path) -> None:
    place = FolderPlace(tmp_path)
    for number in range(4):
        for worker in ("mine", "other"):
            ship(place, f"{worker}-{number}", [line(number, units=[worker])])
    PredictionLog(place).write([line(8)], name="by-hand")
    assert compact(place, workers=["mine"]) == 3
    assert [name.rsplit("-", 1)[0] for name in files(place)] == [
        "flights/predictions-1/2023-11-14/mine-0",
        "flights/predictions/2023-11-14/batch/by",
        "flights/predictions/2023-11-14/mine-3",
        *(f"flights/predictions/2023-11-14/other-{number}" for number in range(4)),
    ]
    early = datetime(2023, 11, 15, 0, 30, tzinfo=UTC)
    assert compact(place, workers=[], at=early) == 0, "requests of the day may still come"
    assert compact(place, workers=[], at=LATER) == 6
    assert [name.rsplit("-", 1)[0] for name in files(place)] == [
        "flights/predictions-3/2023-11-14/day-0",
        "flights/predictions/2023-11-14/batch/by",
    ]
    merged, _ = place.list("flights")
    assert [part.name.rsplit("-", 1)[0].rpartition("/")[2] for part in parts_of(tmp_path / merged.name, merged)] == [
        *(f"mine-{number}" for number in range(4)),
        *(f"other-{number}" for number in range(4)),
    ]


def test_minutes_become_hours(tmp_path: Path) -> None:
    place = FolderPlace(tmp_path)
    for number in range(10):
        ship(place, f"w0-{number:08}", [line(number)])
    assert compact(place, times=3) == 9 + 3
    assert [name.rsplit("-", 1)[0] for name in files(place)] == [
        "flights/predictions-2/2023-11-14/w0-00000000",
        "flights/predictions/2023-11-14/w0-00000009",
    ]


def test_large_files_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merging, "MOST_BYTES", 1)
    place = FolderPlace(tmp_path)
    fill(place)
    before = files(place)
    assert compact(place) + compact(place, at=LATER) == 0
    assert files(place) == before


def test_rows_and_types_are_those_that_were_shipped(tmp_path: Path) -> None:
    place = FolderPlace(tmp_path)
    fill(place)
    before = {
        kind: pq.read_table([tmp_path / name for name in files(place) if f"/{kind}/" in name])
        for kind in ("predictions", "labels")
    }
    compact(place, at=LATER)
    for kind, table in before.items():
        (name,) = [name for name in files(place) if f"/{kind}-3/" in name]
        merged = pq.ParquetFile(tmp_path / name).read()
        assert merged.drop_columns("part").schema.equals(table.schema)
        keys = [("request", "ascending"), ("row", "ascending")]
        assert merged.drop_columns("part").sort_by(keys).equals(table.sort_by(keys))


def test_stopped_in_between(tmp_path: Path) -> None:
    place = FolderPlace(tmp_path)
    fill(place, 20)
    before, asked = seen(place), iter([False, True])
    assert Compaction(place, clock=lambda: NOW).run("flights", workers={"w0"}, stopped=lambda: next(asked)) == 3
    assert seen(place) == before


@pytest.mark.parametrize("at", [NOW, LATER])
def test_a_broken_file_is_an_error_and_nothing_is_removed(tmp_path: Path, at: datetime) -> None:
    place = FolderPlace(tmp_path)
    for number in range(3):
        ship(place, f"w0-{number}", [line(number)])
    before = files(place)
    (tmp_path / before[1]).write_bytes(b"PAR1 and nothing")
    with pytest.raises(IntegrityError, match="cannot be read"):
        compact(place, at=at)
    assert files(place) == before


def test_a_merged_file_without_its_parts_is_an_integrity_error(tmp_path: Path) -> None:
    place = FolderPlace(tmp_path)
    for number in range(3):
        ship(place, f"w0-{number}", [line(number)])
    shipped = (tmp_path / files(place)[0]).read_bytes()
    compact(place)
    (tmp_path / files(place)[0]).write_bytes(shipped)
    with pytest.raises(IntegrityError, match="is no merged file"):
        evidence(place).look(rollout())


def test_labels_know_the_keys_of_merged_predictions(tmp_path: Path) -> None:
    place = FolderPlace(tmp_path / "log")
    for number in range(7):
        ship(place, f"w0-{number}", [line(number)])
    compact(place)
    table = tmp_path / "labels.csv"
    table.write_text("key,label\n" + "".join(f"k{number},1\n" for number in range(9)))
    from pyarrow import csv

    pq.write_table(csv.read_csv(table), tmp_path / "labels.parquet")
    joined = LabelTables(place, clock=lambda: NOW).join_labels(
        "flights", tmp_path / "labels.parquet", key="key", label="label"
    )
    assert (joined.labels, joined.unknown) == (9, 2)


def test_the_documented_query_finds_what_was_merged_and_what_was_not(tmp_path: Path) -> None:
    place = FolderPlace(tmp_path / "log")
    for number in range(4):  # three become one
        ship(place, f"w1-{number}", [
            line(number, classes=["red", "white"], predictions=[0.25, 0.75]),
            label(number) | {"label": None, "class": "red"},
        ])  # fmt: skip
    assert Compaction(place, clock=lambda: NOW).run("flights", workers={"w1"}) == 6
    page = (Path(__file__).parents[2] / "docs/tutorials/platform-team.md").read_text(encoding="utf-8")
    (query,) = [part.partition("```")[0] for part in page.split("```sql") if "probabilities[class]" in part]
    found = duckdb.execute(query.replace("predictions/NAME", str(tmp_path / "log" / "flights"))).fetchall()
    assert found == [("white", "red", 0.25)] * 4


def test_files_with_and_without_classes_become_one(tmp_path: Path) -> None:
    place = FolderPlace(tmp_path / "log")
    classed = line(2, classes=["red", "white"], predictions=[0.25, 0.75])
    named = label(2) | {"label": None, "class": "white"}
    for number, lines in enumerate(([line(1), label(1)], [classed, named], [line(3), label(3)])):
        ship(place, f"w1-{number}", lines)
    assert Compaction(place, clock=lambda: LATER).run("flights", workers=set()) == 6
    (rows,) = [pq.read_table(place.local(one)) for one in place.list("flights/predictions-3")]
    (labels,) = [pq.read_table(place.local(one)) for one in place.list("flights/labels-3")]
    assert rows["predicted"].to_pylist() == [None, "white", None]
    assert rows["probabilities"].to_pylist() == [None, [("red", 0.25), ("white", 0.75)], None]
    assert rows["prediction"].to_pylist() == [0.5, 0.75, 0.5]
    assert list(zip(labels["label"].to_pylist(), labels["class"].to_pylist(), strict=True)) == [
        (1, None),
        (None, "white"),
        (1, None),
    ]
