"""Freshness and latency promises as service level objectives: read, measured, judged, shown."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cli import small_project
from cli.conftest import Cli
from contract import crowned
from towpath import wiring
from towpath.core import digest as digests
from towpath.core.contract import parse
from towpath.core.errors import DeclarationError, Problems
from towpath.core.evidence import Entry, Finding, Outcome, Severity, Subject
from towpath.core.promises import Objective
from towpath.core.slo import ALERTS, Event, Promised, Status, counted, judged, promises
from towpath.settings import Settings
from towpath.stages import latency, slo
from unit import shop

NOW = datetime(2024, 3, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def promise(kind: str = "freshness", **given: Any) -> Promised:
    fields: dict[str, Any] = {"table": "t", "column": "at", "bound": HOUR, "objective": Objective(), "contract": "c"}
    return Promised(kind=kind, **{**fields, **given})


def status(bad: Sequence[timedelta], good: Sequence[timedelta], *, objective: Objective | None = None) -> Status:
    """Of faults and of what held, so long ago."""
    promised = promise(objective=objective or Objective())
    events = [Event(at=NOW - ago, good=held) for held, spans in ((False, bad), (True, good)) for ago in spans]
    return Status(promised=promised, counts=counted(events, promised.windows, until=NOW))


def levels(*more: dict[str, Any], known: bool = True) -> dict[str, Any]:
    """The shop's contract with service levels; `packed_at` becomes known at `placed_at`, or is always known."""
    document = shop.document()
    document["slaProperties"] = [{"property": "freshness", "value": 2, "unit": "d", "element": "orders.placed_at"}]
    document["slaProperties"] += more
    shop.column(document, "orders", "packed_at")["customProperties"] = (
        [{"property": "knownAt", "value": "placed_at"}] if known else []
    )
    return document


def late(**given: Any) -> dict[str, Any]:
    return {"property": "latency", "value": 4, "unit": "h", "element": "orders.packed_at", **given}


def slo_of(value: Any, window: Any = "28d") -> list[dict[str, Any]]:
    return [{"property": "sloObjective", "value": value}, {"property": "sloWindow", "value": window}]


def test_promises_are_objectives_with_defaults_that_the_contract_may_set() -> None:
    contract = parse(levels(late(customProperties=slo_of(99.5, "12h"))), origin="shop.yaml")
    fresh, known = promises({"orders": contract})
    assert (fresh.name, fresh.bound, fresh.objective) == ("freshness:orders.placed_at", 2 * DAY, Objective())
    assert (known.name, known.bound, known.known_at) == ("latency:orders.packed_at", 4 * HOUR, "placed_at")
    assert known.objective == Objective(percent=99.5, window=12 * HOUR)


@pytest.mark.parametrize(("item", "why"), [
    (late(element="orders.amount"), "amount is no timestamp of the table"),
    (late(unit="parsec"), "4 parsec is no length of time"),
    (late(value="soon"), "'soon' h is no length of time"),
])  # fmt: skip
def test_a_latency_that_cannot_be_measured_is_said_and_passes_nothing(item: dict[str, Any], why: str) -> None:
    [_, found] = promises({"orders": parse(levels(item), origin="shop.yaml")})
    assert why in found.why
    told = judged(Status(promised=found, counts={}))
    assert (told.outcome, told.severity) == (Outcome.INCONCLUSIVE, Severity.WARNING)
    assert why in told.reason


@pytest.mark.parametrize(
    "custom", [slo_of(100), slo_of(49), slo_of(True), slo_of("99"), slo_of(99, "a month"), slo_of(99, "0d")]
)
def test_an_objective_that_cannot_be_meant_is_refused(custom: list[dict[str, Any]]) -> None:
    with pytest.raises(Problems, match=r"slaProperties\[.*\]\.slo(Objective|Window)"):
        parse(levels(late(customProperties=custom)), origin="shop.yaml")


def test_the_burn_rates_are_the_workbooks_for_its_window() -> None:
    """Table 5-8: 2 % of 30 days' budget in an hour is a rate of 14.4, 5 % in six hours 6, 10 % in three days 1."""
    assert [round(one.rate(30 * DAY), 9) for one in ALERTS] == [14.4, 6, 1]
    assert [round(one.rate(28 * DAY), 9) for one in ALERTS] == [13.44, 5.6, 1], "slower, a budget is never spent"
    assert [one.short for one in ALERTS] == [timedelta(minutes=5), timedelta(minutes=30), 6 * HOUR]


@pytest.mark.parametrize(
    ("bad", "left", "outcome"), [(0, 1.0, "PASS"), (1, 0.5, "PASS"), (2, 0.0, "FAIL"), (3, -0.5, "FAIL")]
)
def test_the_budget_is_the_share_of_faults_that_the_objective_lets_be(bad: int, left: float, outcome: str) -> None:
    """Of 40 measurements 95 % shall hold: two faults spend it. They lie too far back to burn."""
    found = status([20 * DAY] * bad, [10 * DAY] * (40 - bad))
    assert found.budget_left == pytest.approx(left)
    told = judged(found)
    assert (told.outcome, told.severity, told.sample_size) == (Outcome(outcome), Severity.ERROR, 40)
    assert told.measured == pytest.approx(100 * left)


def test_a_window_has_its_end_and_not_its_beginning() -> None:
    events = [Event(at=NOW - ago, good=True) for ago in (timedelta(0), HOUR, 28 * DAY, -HOUR)]
    assert counted(events, [HOUR, 28 * DAY], until=NOW) == {HOUR: (1, 1), 28 * DAY: (2, 2)}


@pytest.mark.parametrize(("bad", "fires"), [
    ([timedelta(minutes=minute) for minute in range(60)], "1 hour"),
    ([timedelta(minutes=minute) for minute in range(31, 51)], None),  # it is over
    ([timedelta(minutes=minute) for minute in range(0, 360, 10)], "6 hours"),
    ([HOUR * hour for hour in range(72)], "3 days"),
    ([timedelta(0)], None),  # one fault of thousands
])  # fmt: skip
def test_an_alert_needs_both_windows_and_its_share_of_the_budget(bad: list[timedelta], fires: str | None) -> None:
    """A measurement a minute for 28 days; faults in the places of some."""
    every = [timedelta(minutes=minute) for minute in range(28 * 24 * 60)]
    found = status(bad, sorted(set(every) - set(bad)), objective=Objective(percent=99.0))
    if fires is None:
        assert found.firing is None
        assert judged(found).outcome is Outcome.PASS
        return
    told = judged(found)
    assert found.firing is not None
    assert f"times too fast over {fires}" in told.reason
    assert (told.outcome, told.severity is Severity.ERROR) == (Outcome.FAIL, fires != "3 days")


@pytest.mark.parametrize(("window", "bad", "fires"), [
    (DAY, [timedelta(minutes=minute) for minute in (0, 100, 200, 300)], None),  # at this pace a fifth of the budget
    (DAY, [timedelta(minutes=minute) for minute in range(0, 360, 15)], "1 hour"),
    (2 * DAY, [HOUR * hour for hour in (0, 3, *range(30, 72))], None),  # most of them beyond its own window
])  # fmt: skip
def test_a_short_window_has_no_alert_of_a_pace_that_never_spends_its_budget(
    window: timedelta, bad: list[timedelta], fires: str | None
) -> None:
    every = [timedelta(minutes=minute) for minute in range(3 * 24 * 60)]
    found = status(bad, sorted(set(every) - set(bad)), objective=Objective(percent=95.0, window=window))
    assert (found.firing is not None) is (fires is not None)
    assert fires is None or f"over {fires}" in judged(found).reason


def rows(folder: Path, happened: list[Any], known: list[Any], zone: str | None) -> Path:
    kind = pa.timestamp("us", tz=zone)
    strip = (lambda value: value) if zone else (lambda value: value and value.replace(tzinfo=None))
    table = {"at": pa.array(map(strip, happened), kind), "known": pa.array(map(strip, known), kind)}
    pq.write_table(pa.table(table), folder / "t.parquet", row_group_size=2)
    return folder / "t.parquet"


@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York"])
def test_rows_are_counted_once_they_are_known_or_late(tmp_path: Path, zone: str | None) -> None:
    ago = [3 * HOUR, 3 * HOUR, 3 * HOUR, HOUR / 2, 3 * HOUR, 40 * DAY, -HOUR]
    took: list[timedelta | None] = [HOUR, 2 * HOUR, None, None, 4 * HOUR, HOUR, HOUR]
    happened: list[Any] = [NOW - one for one in ago]
    known: list[Any] = [at + one if one is not None else None for at, one in zip(happened, took, strict=True)]
    file = rows(tmp_path, [*happened, None], [*known, NOW], zone)
    promised = promise("latency", known_at="known")
    counts = latency.read(latency.measured([promised], {"t": file}, as_of=NOW)[promised.name])
    # in time; too late; never known; not late yet; known after now; before the window; after now; no time
    assert counts[28 * DAY] == (1, 4)
    assert counts[HOUR] == (0, 0)
    gone = promise("latency", known_at="gone")
    assert latency.measured([gone], {"t": file}, as_of=NOW) == {gone.name: []}
    assert latency.measured([promise("latency", why="no")], {"t": file}, as_of=NOW) == {}


def test_a_feed_that_stopped_burns_the_budget_as_its_rows_come_due(tmp_path: Path) -> None:
    """A row a minute, promised within four hours; of the last ten hours none became known."""
    ago = [timedelta(minutes=minute) for minute in range(3 * 24 * 60)]
    known = [NOW - one + timedelta(minutes=1) if one >= 10 * HOUR else None for one in ago]
    file = rows(tmp_path, [NOW - one for one in ago], known, "UTC")
    promised = promise("latency", known_at="known", bound=4 * HOUR)
    counts = latency.read(latency.measured([promised], {"t": file}, as_of=NOW)[promised.name])
    assert counts[HOUR] == (0, 60)
    assert counts[timedelta(minutes=5)] == (0, 5)
    assert Status(promised=promised, counts=counts).firing == ALERTS[0]


def test_of_two_validations_of_one_time_the_last_counts() -> None:
    """Such as after the contract promised less: what the first counted was held to the old promise."""
    promised = promise("latency", known_at="known")

    def of(good: int, at: datetime) -> slo.Measurement:
        counts = [[span.total_seconds(), good, 10] for span in promised.windows]
        entry = Entry(stage="validate", project="p", key=str(good), previous=None, inputs={},
                      facts={"latency": {promised.name: counts}})  # fmt: skip
        return slo.Measurement(at=at, entry=entry)

    [found] = slo.statuses([promised], [of(1, NOW), of(9, NOW), of(5, NOW - DAY)], until=NOW)
    assert (found.good, found.total) == (9, 10)
    [found] = slo.statuses([promised], [of(1, NOW), of(5, NOW - DAY)], until=NOW - HOUR)
    assert found.good == 5


@pytest.mark.parametrize("value", [1e9, 0, -4])
def test_a_length_of_time_that_cannot_be_is_said(value: float) -> None:
    document = levels(late(value=value))
    assert "no length of time" in promises({"orders": parse(document, origin="shop.yaml")})[1].why
    document["slaProperties"][0]["value"] = value
    with pytest.raises(Problems, match="a number above 0, of a century at most"):
        parse(document, origin="shop.yaml")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**400])
def test_a_number_that_json_does_not_hold_is_refused(value: float) -> None:
    with pytest.raises(DeclarationError, match=r"shop\.yaml holds a number that JSON does not"):
        parse(levels(late(value=value)), origin="shop.yaml")


def test_one_promise_of_an_element_is_enough() -> None:
    with pytest.raises(Problems, match=r"latency of orders\.packed_at\]: it is promised twice"):
        parse(levels(late(), late(value=8)), origin="shop.yaml")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def settings(request: pytest.FixtureRequest, place: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    if request.param == "postgresql":
        monkeypatch.setenv("TOWPATH_LEDGER", request.getfixturevalue("postgres_database"))
    return Settings.read(os.environ, folder=place)


def validated(settings: Settings, contract: Path, at: datetime, outcome: Outcome, *, number: int, **facts: Any) -> None:
    """What a run or a watch leaves of that time."""
    text = Subject(kind="contract", name="visits", digest=wiring.open_objects(settings).put(contract))
    fresh = Finding(code="data.freshness", outcome=outcome, subject="visits.visited_at", reason="measured")
    stages: list[tuple[str, dict[str, Any]]] = [
        ("ingest", {"facts": {"as_of": at.isoformat()}}),
        ("validate", {"subjects": (text,), "findings": (fresh,), "facts": facts}),
    ]
    crowned.recorded(settings, "visits", stages, number=number, crown=False)


def test_each_time_is_measured_once_out_of_the_ledger(settings: Settings, place: Path, cli: Cli) -> None:
    contract = small_project.write(place / "visits") / "visits.odcs.yaml"
    for number in range(20):
        validated(settings, contract, NOW - number * DAY, Outcome.PASS, number=number)
    validated(settings, contract, NOW - 20 * DAY, Outcome.FAIL, number=20)
    validated(settings, contract, NOW - 20 * DAY, Outcome.PASS, number=21)  # what came late was known by then
    validated(settings, contract, NOW - 21 * DAY, Outcome.ERROR, number=22)  # the engine gave no result
    with crowned.ledger_of(settings) as ledger:
        measured = slo.measurements(ledger, "visits")
    [found] = slo.of_project(measured, wiring.open_objects(settings), until=NOW)
    assert (found.good, found.total) == (20, 21)
    assert found.budget_left == pytest.approx(1 - 1 / (21 * 0.05))
    ran = cli("slo", "visits", "--json")
    assert (ran.code, ran.json["as_of"]) == (0, NOW.isoformat())
    assert [(one["slo"], one["good"], one["total"]) for one in ran.json["objectives"]] == [
        ("freshness:visits.visited_at", 20, 21)
    ]
    validated(settings, contract, NOW + DAY, Outcome.FAIL, number=23)
    shown = cli("slo", "visits")
    assert shown.code == 3
    assert "the error budget is spent" in shown.out
    assert "As of 2024-03-02 00:00 UTC." in shown.out
    assert cli("slo", "visits", "--as-of", "2024-03-01").code == 0
    gauges = cli("slo", "visits", "--metrics").out
    labels = '{project="visits",slo="freshness:visits.visited_at"}'
    assert f"towpath_slo_objective_ratio{labels} 0.95" in gauges
    assert f"towpath_slo_window_total{labels} 22.0" in gauges
    assert f"towpath_slo_budget_left_ratio{labels} -0.8" in gauges


def test_a_promise_that_nobody_can_read_does_not_hold(cli: Cli, place: Path) -> None:
    """The contract of the last validation is gone from the store."""
    settings = Settings.read(os.environ, folder=place)
    contract = small_project.write(place / "visits") / "visits.odcs.yaml"
    validated(settings, contract, NOW, Outcome.PASS, number=1)
    wiring.open_objects(settings).remove(digests.of_file(contract))
    ran = cli("slo", "visits")
    assert ran.code != 0
    assert "No object" in ran.err


def test_before_anything_is_measured_that_is_said(cli: Cli, place: Path) -> None:
    settings = Settings.read(os.environ, folder=place)
    crowned.recorded(settings, "visits", [("ingest", {"facts": {"as_of": NOW.isoformat()}})], number=1, crown=False)
    ran = cli("slo", "visits")
    assert (ran.code, "nothing was validated yet" in ran.out) == (0, True)
    assert cli("slo", "visits", "--json").json["objectives"] == []
    assert cli("slo", "books").code == 2
