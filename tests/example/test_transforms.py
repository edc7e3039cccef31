"""The feature repository's SQL on the real year: right clocks, right windows, and nothing known before its time."""

from __future__ import annotations

import os
import runpy
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from example.tables import REPOSITORY, TABLES, Example

INSTANTS = (
    datetime(2013, 2, 9, 17, 30, tzinfo=UTC),  # the blizzard of February
    datetime(2013, 5, 1, tzinfo=UTC),
    datetime(2013, 11, 3, 5, 59, 59, tzinfo=UTC),  # the last second of daylight saving time in New York
)
DELAYS = {
    "carrier_delays": ("carrier", timedelta(hours=3), timedelta(hours=24)),
    "origin_delays": ("origin", timedelta(hours=3), timedelta(hours=24)),
    "destination_delays": ("dest", timedelta(hours=3), timedelta(hours=24)),
    "aircraft_delays": ("tailnum", timedelta(hours=24), timedelta(days=7)),
}
KEYS = {name: key for name, (key, _, _) in DELAYS.items()} | {"origin_weather": "origin", "aircraft": "tailnum"}
CLOCKS = {"flights": "flight_id, scheduled_at, due_at, departed_at, landed_at", "weather": "known_at"}
LEAK = """
    SELECT carrier, date_trunc('hour', departed_at) AS event_timestamp, event_timestamp AS created_timestamp,
    avg(arr_delay) AS delay FROM main.flights WHERE departed_at IS NOT NULL GROUP BY ALL
"""


def test_staging_keeps_every_flight_under_a_key_of_its_own(staged: Example) -> None:
    flights, keys = staged.rows("SELECT count(*), count(DISTINCT flight_id) FROM flights")[0]
    assert flights == keys == staged.value("SELECT count(*) FROM raw.flights") == 336_776
    raw = staged.columns("raw.flights")
    assert list(staged.columns("flights").items())[: len(raw)] == list(raw.items())
    lost = f"SELECT count(*) FROM ((FROM raw.flights) EXCEPT ALL (SELECT {', '.join(raw)} FROM flights))"
    assert staged.value(lost) == 0


def test_departure_is_schedule_plus_delay(staged: Example) -> None:
    assert staged.value("SELECT count(*) FROM flights WHERE (departed_at IS NULL) <> (dep_delay IS NULL)") == 0
    wrong = "epoch(departed_at) - epoch(scheduled_at) <> dep_delay * 60"
    assert staged.value(f"SELECT count(*) FROM flights WHERE {wrong}") == 0


def test_arrival_is_due_time_plus_delay(staged: Example) -> None:
    """The publisher's delay is an independent witness of time zones and midnights."""
    apart = "(epoch(landed_at) - epoch(due_at)) // 60 - arr_delay"
    found = dict(staged.rows(f"SELECT {apart}, count(*) FROM flights WHERE arr_delay IS NOT NULL GROUP BY 1"))
    # one flight landed in the hour that the clocks of Los Angeles showed twice: taken for the later one
    assert found == {0: 327_345, 60: 1}


def test_time_on_the_ground_is_plausible(staged: Example) -> None:
    """What is left of gate to gate without the time in the air: both taxi times."""
    ground = "(epoch(landed_at) - epoch(departed_at)) // 60 - air_time"
    low, middle, high, flights = staged.rows(
        f"SELECT min({ground}), median({ground}), max({ground}), count({ground}) FROM flights"
    )[0]
    assert flights == 327_346
    assert low >= 5
    assert 25 <= middle <= 30
    assert high <= 240


def test_staging_does_not_depend_on_the_sessions_zone(staged: Example, landed: Path) -> None:
    elsewhere = Example(landed, zone="Asia/Kathmandu")
    for table, clocks in CLOCKS.items():
        query = f"SELECT sum(hash({clocks})) FROM {table}"
        assert elsewhere.rows(query) == staged.rows(query)
    elsewhere.database.close()


def test_weather_is_known_when_its_hour_is_over(staged: Example) -> None:
    assert staged.value("SELECT count(*) FROM weather WHERE epoch(known_at) - epoch(time_hour) <> 3600") == 0


@pytest.mark.parametrize("name", KEYS)
def test_a_source_has_one_row_per_key_and_time(built: Example, feature_files: Mapping[str, Path], name: str) -> None:
    assert set(KEYS) == set(feature_files)
    columns = built.columns(f"feature.{name}")
    assert list(columns)[:3] == [KEYS[name], "event_timestamp", "created_timestamp"]
    assert columns["event_timestamp"] == columns["created_timestamp"] == "TIMESTAMP WITH TIME ZONE"
    rows, distinct, empty, early = built.rows(
        f"SELECT count(*), count(DISTINCT ({KEYS[name]}, event_timestamp)), count(*) FILTER ({KEYS[name]} IS NULL), "
        f"count(*) FILTER (created_timestamp < event_timestamp) FROM feature.{name}"
    )[0]
    assert rows == distinct > 3_000
    assert (empty, early) == (0, 0)


@pytest.mark.parametrize("name", DELAYS)
def test_delays_are_those_of_the_flights_that_had_landed(built: Example, name: str) -> None:
    """A sample of rows against the definition: all landings in the window that ends at the row's time."""
    key, recent, longer = DELAYS[name]
    prefix = name.removesuffix("_delays")
    sample = built.rows(f"SELECT * FROM feature.{name} ORDER BY hash({key}, event_timestamp) LIMIT 25")
    columns = list(built.columns(f"feature.{name}"))
    for row in sample:
        got = dict(zip(columns, row, strict=True))
        end = got["event_timestamp"]
        counts = {length: _landings(built, key, got[key], end - length, end) for length in (recent, longer)}
        landed, late, lost = counts[longer]
        assert got[columns[3]] == landed
        assert got[columns[4]] == pytest.approx(late / landed)
        assert got[columns[5]] == pytest.approx(counts[recent][2] / counts[recent][0])
        assert got[columns[6]] == pytest.approx(lost / landed)
    assert all(column.startswith(f"{prefix}_") for column in columns[3:])


def _landings(built: Example, key: str, value: str, start: datetime, end: datetime) -> tuple[int, int, int]:
    found: list[tuple[int, int, int]] = built.database.execute(
        f"SELECT count(*), count(*) FILTER (arr_delay > 15), sum(arr_delay - dep_delay) FROM flights "
        f"WHERE {key} = ? AND arr_delay IS NOT NULL AND landed_at >= ? AND landed_at < ?",
        [value, start, end],
    ).fetchall()
    return found[0]


@pytest.mark.parametrize("instant", INSTANTS, ids=lambda instant: f"{instant:%m-%d}")
def test_rows_are_the_same_when_only_the_past_is_known(
    built: Example, feature_files: Mapping[str, Path], contracts: Mapping[str, Any], instant: datetime
) -> None:
    _mask(built, contracts, instant)
    for name, file in feature_files.items():
        differing, rows = _replay(built, name, file.read_text(), f"FROM feature.{name}", instant)
        assert differing == 0, name
        assert rows > 0, name
    differing, rows = _replay(built, "leak", LEAK, LEAK, instant)
    assert differing > 0, "the replay must see a source that uses arrivals before they happened"


def _mask(built: Example, contracts: Mapping[str, Any], instant: datetime) -> None:
    """Schema `then`: the staged tables with every value hidden that the contracts say was not known at the instant."""
    built.database.execute("CREATE SCHEMA IF NOT EXISTS past")
    for table in TABLES:
        clocks = _clocks(contracts[table])
        clocks |= {clock: clock for clock in clocks.values()}
        shown = [
            f"CASE WHEN {clocks[column]} <= TIMESTAMPTZ '{instant}' THEN {column} END AS {column}"
            if column in clocks
            else column
            for column in built.columns(f"main.{table}")
        ]
        built.database.execute(f"CREATE OR REPLACE TABLE past.{table} AS SELECT {', '.join(shown)} FROM main.{table}")
    hidden = "SELECT count(m.arr_delay) - count(p.arr_delay) FROM main.flights m JOIN past.flights p USING (flight_id)"
    assert built.value(hidden) > 0


def _clocks(contract: Mapping[str, Any]) -> dict[str, str]:
    [table] = contract["schema"]
    clocks = {}
    for column in table["properties"]:
        for custom in [*table.get("customProperties", []), *column.get("customProperties", [])]:
            if custom["property"] == "knownAt":
                clocks[column["name"]] = custom["value"]
    return clocks


def _replay(built: Example, name: str, then: str, now: str, instant: datetime) -> tuple[int, int]:
    """Rows up to the instant that differ between the source as built and as built from `past`; rows compared."""
    built.database.execute(f"CREATE OR REPLACE TABLE past.replayed_{name} AS {then.replace('main.', 'past.')}")
    known = f"WHERE created_timestamp <= TIMESTAMPTZ '{instant}'"
    full, masked = f"SELECT * FROM ({now}) {known}", f"SELECT * FROM past.replayed_{name} {known}"
    differing = sum(
        built.value(f"SELECT count(*) FROM (({one}) EXCEPT ALL ({other}))")
        for one, other in ((full, masked), (masked, full))
    )
    return differing, built.value(f"SELECT count(*) FROM ({full})")


def test_the_spine_shows_the_arrival_in_its_label_alone(built: Example) -> None:
    columns = list(built.columns("feature.spine"))
    assert columns == [
        *("flight_id", "event_timestamp", "departed_at", "carrier", "origin", "dest", "tailnum"),
        *("dep_delay", "departure_hour", "weekday", "distance", "scheduled_minutes"),
        *("late", "label_timestamp"),
    ]
    after = built.columns("raw.flights").keys() & {"arr_time", "arr_delay", "air_time"}
    assert len(after) == 3
    assert not after & set(columns)


def test_the_spine_has_each_flight_with_an_outcome_once(built: Example) -> None:
    rows, flights = built.rows("SELECT count(*), count(DISTINCT flight_id) FROM feature.spine")[0]
    assert rows == flights == built.value("SELECT count(arr_delay) FROM flights") == 327_346
    assert built.value("SELECT count(*) FROM feature.spine WHERE label_timestamp <= event_timestamp") == 0
    wrong = "JOIN flights USING (flight_id) WHERE (late = 1) <> (arr_delay > 15) OR late NOT IN (0, 1)"
    assert built.value(f"SELECT count(*) FROM feature.spine {wrong}") == 0
    nulls = "SELECT count(*) FROM feature.spine WHERE COLUMNS(*) IS NULL"
    assert built.value(nulls) == 0


def test_views_declare_what_the_transforms_give(built: Example, monkeypatch: pytest.MonkeyPatch) -> None:
    from towpath import telemetry

    telemetry.silence()
    from feast import Entity, FeatureView

    monkeypatch.setenv("TOWPATH_FEATURES", "somewhere")
    found = runpy.run_path(os.fspath(REPOSITORY / "definitions.py"))
    views = {item.name: item for item in found.values() if isinstance(item, FeatureView)}
    joined = {item.name: item.join_key for item in found.values() if isinstance(item, Entity)}
    kinds = {"Float64": "DOUBLE", "String": "VARCHAR"}
    assert set(views) == set(KEYS) == {item.name for item in found["flight_delay"].feature_view_projections}
    for name, view in views.items():
        columns = built.columns(f"feature.{name}")
        declared = {field.name: kinds[str(field.dtype)] for field in view.features}
        assert declared == {column: columns[column] for column in list(columns)[3:]}
        assert [joined[entity] for entity in view.entities] == [KEYS[name]]
        assert view.batch_source.path == f"somewhere/{name}.parquet"
        assert view.batch_source.timestamp_field == "event_timestamp"
        assert view.batch_source.created_timestamp_column == "created_timestamp"
