"""What the bench of data checks compares with: one query written by hand for the contract of the flights, and the
expectations that Great Expectations has for pandas."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

_FILLED = [
    "year",
    "month",
    "day",
    "sched_dep_time",
    "sched_arr_time",
    "carrier",
    "flight",
    "origin",
    "dest",
    "distance",
    "hour",
    "minute",
    "time_hour",
]
_RANGES = {
    "year": (1987, 2100), "month": (1, 12), "day": (1, 31), "dep_time": (1, 2400), "sched_dep_time": (0, 2359),
    "dep_delay": (-120, 2880), "arr_time": (1, 2400), "sched_arr_time": (0, 2400), "arr_delay": (-180, 2880),
    "flight": (1, 9999), "air_time": (10, 1440), "distance": (1, 6000), "hour": (0, 23), "minute": (0, 59),
}  # fmt: skip
_PATTERNS = {"carrier": "^[0-9A-Z]{2}$", "tailnum": "^[A-Z][0-9A-Z]{3,5}$", "dest": "^[A-Z]{3}$"}
_RULES = {
    "schedule-consistent": "sched_dep_time <> hour * 100 + minute",
    "clock-times-exist": (
        "dep_time % 100 > 59 OR arr_time % 100 > 59 OR sched_dep_time % 100 > 59 OR sched_arr_time % 100 > 59"
    ),
    "departure-adds-up": (
        "((sched_dep_time - sched_dep_time % 100) / 100 * 60 + sched_dep_time % 100 + dep_delay "
        "- (dep_time - dep_time % 100) / 100 * 60 - dep_time % 100) % 1440 <> 0"
    ),
    "arrival-adds-up": (
        "((sched_arr_time - sched_arr_time % 100) / 100 * 60 + sched_arr_time % 100 + arr_delay "
        "- (arr_time - arr_time % 100) / 100 * 60 - arr_time % 100) % 1440 <> 0"
    ),
    "departure-whole": "(dep_time IS NULL) <> (dep_delay IS NULL)",
    "arrival-whole": "arr_delay IS NOT NULL AND (arr_time IS NULL OR air_time IS NULL OR dep_delay IS NULL)",
    "speed-plausible": "distance * 60 > air_time * 720",
}
_WORDS = {
    "schedule-consistent": "The scheduled departure is its hour and minute",
    "clock-times-exist": "No clock shows a minute past 59",
    "departure-adds-up": "Scheduled departure plus delay is the departure, around the clock",
    "arrival-adds-up": "Scheduled arrival plus delay is the arrival, around the clock",
    "departure-whole": "A departure has both a time and a delay, or neither",
    "arrival-whole": "A flight with an arrival delay has departed, flown and arrived",
    "speed-plausible": "Nothing here flies faster than 720 miles an hour",
    "every-day-whole": "No day has fewer than 500 flights (Thanksgiving has 634); the newest may still be going on",
}
_KEY = "time_hour, carrier, flight, origin"
_WITHIN = {"tailnum": ("planes", "tailnum"), "dest": ("airports", "faa")}
_REFERENCES = {"carrier": ("airlines", "carrier"), "origin": ("airports", "faa")}


def _query() -> str:
    def counted(name: str, condition: str) -> str:
        return f'count(*) FILTER (WHERE {condition}) AS "{name}"'

    def share(name: str, of: str, condition: str) -> str:
        return f'round(100.0 * count(*) FILTER (WHERE {condition}) / {of}, 4) AS "{name}"'

    def missing(column: str, other: tuple[str, str]) -> str:
        return f"{column} NOT IN (SELECT {other[1]} FROM {other[0]})"

    again = (
        "SELECT coalesce(sum(copies - 1), 0) FROM "
        f"(SELECT count(*) AS copies FROM flights GROUP BY {_KEY} HAVING count(*) > 1)"
    )
    day = "year * 10000 + month * 100 + day"
    days = (
        "SELECT min(of_day) FROM (SELECT count(*) AS of_day FROM flights "
        f"WHERE {day} < (SELECT max({day}) FROM flights) GROUP BY year, month, day)"
    )
    parts = [
        *(counted(f"data.null {name}", f"{name} IS NULL") for name in _FILLED),
        *(share(f"data.null {name}", "count(*)", f"{name} IS NULL") for name in ("dep_time", "arr_delay", "tailnum")),
        *(counted(f"data.range {name}", f"{name} NOT BETWEEN {a} AND {b}") for name, (a, b) in _RANGES.items()),
        counted("data.range carrier", "length(carrier) <> 2"),
        *(counted(f"data.pattern {name}", f"NOT regexp_matches({name}, '{p}')") for name, p in _PATTERNS.items()),
        counted("data.enumeration origin", "origin NOT IN ('EWR', 'JFK', 'LGA')"),
        *(counted(f"data.foreign_key {name}", missing(name, to)) for name, to in _REFERENCES.items()),
        *(share(f"data.foreign_key {name}", f"count({name})", missing(name, to)) for name, to in _WITHIN.items()),
        *(counted(f"data.rule {_WORDS[name]}", condition) for name, condition in _RULES.items()),
        'count(*) AS "data.volume "',
        'epoch(max(time_hour)) AS "_newest"',
        f'({again}) AS "data.unique {_KEY}"',
        f'({days}) AS "data.rule {_WORDS["every-day-whole"]}"',
    ]
    return f"SELECT {', '.join(parts)} FROM flights"


QUERY = _query()


def split(flights: Path) -> dict[str, str]:
    """By file, the query that a person would fill it by, who knows which two checks the broken rows fail."""
    rows = f"read_parquet('{flights}', file_row_number = true)"
    first = f"SELECT {_KEY}, min(file_row_number) AS first FROM {rows} GROUP BY {_KEY} HAVING count(*) > 1"
    again = f"SELECT file_row_number FROM {rows} JOIN ({first}) USING ({_KEY}) WHERE file_row_number > first"
    fails = f"(distance NOT BETWEEN 1 AND 6000 OR file_row_number IN ({again}))"
    return {
        "accepted": f"SELECT * EXCLUDE file_row_number FROM {rows} WHERE NOT {fails}",
        "quarantine": f"SELECT * EXCLUDE file_row_number FROM {rows} WHERE {fails}",
    }


def newest(flights: Path) -> datetime:
    """The time of the newest flight, from which freshness is seen."""
    import duckdb

    with duckdb.connect() as connection:
        (row,) = connection.execute(f"SELECT epoch(max(time_hour)) FROM '{flights}'").fetchall()
    return datetime.fromtimestamp(float(row[0])).astimezone()


def name_of(finding: Any) -> str:
    """The name that the query gives the count of a finding."""
    column = finding.subject.partition(".")[2]
    if finding.code == "data.rule":
        column = next(words for words in _WORDS.values() if words in finding.reason)
    return f"{finding.code} {column}"


def for_pandas(folder: Path) -> list[Any]:
    """The flights' contract as far as Great Expectations has expectations for it: 41 of 51 checks, no rules."""
    import duckdb
    import great_expectations.expectations as gxe

    def values(table: str, column: str) -> list[str]:
        with duckdb.connect() as connection:
            return [row[0] for row in connection.execute(f"SELECT {column} FROM '{folder / table}.parquet'").fetchall()]

    return [
        *(gxe.ExpectColumnValuesToNotBeNull(column=name) for name in (*_FILLED, "dep_time", "arr_delay", "tailnum")),
        *(
            gxe.ExpectColumnValuesToBeBetween(column=name, min_value=low, max_value=high)
            for name, (low, high) in _RANGES.items()
        ),
        gxe.ExpectColumnValueLengthsToEqual(column="carrier", value=2),
        *(gxe.ExpectColumnValuesToMatchRegex(column=name, regex=pattern) for name, pattern in _PATTERNS.items()),
        gxe.ExpectColumnValuesToBeInSet(column="origin", value_set=["EWR", "JFK", "LGA"]),
        *(
            gxe.ExpectColumnValuesToBeInSet(column=name, value_set=values(*to))
            for name, to in {**_REFERENCES, **_WITHIN}.items()
        ),
        gxe.ExpectCompoundColumnsToBeUnique(column_list=_KEY.split(", ")),
        gxe.ExpectTableRowCountToBeBetween(min_value=20000),
    ]
