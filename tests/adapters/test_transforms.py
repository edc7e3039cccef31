"""A feature repository's SQL on DuckDB: the same bytes twice, the right rows, and leaks found by rebuilding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from towpath.adapters.duckdb_transforms import DuckdbTransforms
from towpath.core import digest as digests
from towpath.core.errors import BadInput, DeclarationError, Unwritable
from towpath.ports import FeatureTables, Replay, Transforms, Window

DAY = timedelta(days=1)
START = datetime(2024, 3, 1, tzinfo=UTC)
WINDOW = Window(start=START, end=START + 10 * DAY)
KNOWN_AT = {"orders": {"paid": "paid_at"}}

STAGING = """
-- every order with its clocks
SELECT *, ordered_at + to_hours(delay) AS paid_at FROM raw.orders
"""
SPINE = """
SELECT order_id, shop, ordered_at AS event_timestamp, paid AS label, paid_at AS label_timestamp FROM main.orders
"""
PAID = """
SELECT shop, paid_at AS event_timestamp, paid_at AS created_timestamp,
    avg(paid) OVER (PARTITION BY shop ORDER BY paid_at, order_id) AS paid_so_far, 'eur' AS currency
FROM main.orders WHERE paid_at IS NOT NULL
"""
LEAK = """
SELECT shop, ordered_at AS event_timestamp, ordered_at AS created_timestamp, avg(paid) AS paid_today
FROM main.orders GROUP BY ALL
"""


def orders(rows: int = 200) -> pd.DataFrame:
    """Orders of two shops, one an hour, each paid some hours after it was placed."""
    number = np.arange(rows)
    placed = pd.Series(pd.date_range(START, periods=rows, freq="h")).astype("datetime64[us, UTC]")
    return pd.DataFrame(
        {
            "order_id": number,
            "shop": np.where(number % 2, "north", "south"),
            "ordered_at": placed,
            "delay": 1 + number % 30,
            "paid": (number * 37 % 101) / 7.0,
        }
    )


@dataclass(kw_only=True)
class Repository:
    """A feature repository and its tables in a folder."""

    folder: Path
    tables: dict[str, Path] = field(default_factory=dict)
    port: Transforms = field(default_factory=DuckdbTransforms)

    def write(self, name: str, text: str | bytes) -> Path:
        file = self.folder / "transforms" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode() if isinstance(text, str) else text)
        return file

    def table(self, name: str, rows: pd.DataFrame) -> None:
        self.tables[name] = self.folder / f"{name}.parquet"
        rows.to_parquet(self.tables[name])

    def build(self, *, window: Window = WINDOW, target: str = "built") -> FeatureTables:
        folder = self.folder / target
        folder.mkdir(exist_ok=True)
        return self.port.build(self.folder, self.tables, window=window, target=folder)

    def replay(
        self, built: FeatureTables, *instants: datetime, known_at: Mapping[str, Mapping[str, str]] = KNOWN_AT
    ) -> tuple[Replay, ...]:
        return self.port.replay(self.folder, self.tables, built, known_at=known_at, instants=instants)


def shop(folder: Path, *, rows: pd.DataFrame | None = None, **features: str) -> Repository:
    """The repository of orders; the feature sources are `features`, by default what was paid."""
    folder.mkdir(parents=True, exist_ok=True)
    repository = Repository(folder=folder)
    repository.table("orders", orders() if rows is None else rows)
    repository.write("staging/orders.sql", STAGING)
    repository.write("spine.sql", SPINE)
    for name, text in (features or {"paid": PAID}).items():
        repository.write(f"features/{name}.sql", text)
    return repository


def read(file: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(file).to_pylist()
    return found


@pytest.mark.slow
def test_a_build_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    """Real numbers and more rows than one thread takes at once: sums in another order would have other last digits."""
    draw = np.random.default_rng(5)
    rows = orders(300_000).assign(paid=draw.lognormal(3, 2, 300_000), delay=1)
    rows["shop"] = draw.integers(0, 50, len(rows)).astype(str)
    rolling = """
        SELECT shop, date_trunc('month', ordered_at) AS event_timestamp, event_timestamp AS created_timestamp,
            avg(paid) OVER (PARTITION BY shop ORDER BY event_timestamp) AS paid_so_far
        FROM main.orders
    """
    repository = shop(tmp_path / "shop", rows=rows, rolling=rolling)
    first, second = repository.build(target="first"), repository.build(target="second")
    files = [[built.spine, *built.sources.values()] for built in (first, second)]
    assert [digests.of_file(file) for file in files[0]] == [digests.of_file(file) for file in files[1]]
    assert pq.read_metadata(first.sources["rolling"]).num_rows == len(rows)
    assert read(first.spine)


def test_the_spine_holds_the_windows_rows_whose_label_was_known_before_its_end(tmp_path: Path) -> None:
    repository = shop(tmp_path)
    window = Window(start=START + timedelta(hours=30), end=START + timedelta(hours=54))
    spine = read(repository.build(window=window).spine)
    table = orders()
    paid_at = table["ordered_at"] + pd.to_timedelta(table["delay"], unit="h")
    inside = (table["ordered_at"] >= window.start) & (table["ordered_at"] < window.end) & (paid_at < window.end)
    assert [row["order_id"] for row in spine] == table.loc[inside, "order_id"].tolist()
    assert 0 < len(spine) < 24
    assert spine[0]["event_timestamp"] == window.start
    edge = Window(start=START, end=spine[0]["label_timestamp"])
    late = [row["order_id"] for row in read(repository.build(window=edge).spine)]
    assert spine[0]["order_id"] not in late, "a label that is known at the end of the window is known too late"


def test_a_row_without_a_label_time_is_no_prediction_row(tmp_path: Path) -> None:
    rows = orders(24).assign(delay=1)
    rows["delay"] = rows["delay"].astype("Int64").mask(rows["order_id"] == 3)
    built = shop(tmp_path, rows=rows).build()
    assert [row["order_id"] for row in read(built.spine)] == [number for number in range(24) if number != 3]


def test_a_table_without_staging_is_read_as_it_is(tmp_path: Path) -> None:
    repository = shop(tmp_path)
    repository.table("shops", pd.DataFrame({"shop": ["north"], "opened_at": [START]}))
    opened = "SELECT shop, opened_at AS event_timestamp, opened_at AS created_timestamp FROM main.shops"
    repository.write("features/opened.sql", opened)
    built = repository.build()
    assert set(built.sources) == {"paid", "opened"}
    assert read(built.sources["opened"]) == [
        {"shop": "north", "event_timestamp": START, "created_timestamp": START},
    ]


# -- what is wrong with a repository -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["staging/orders.sql", "features/paid.sql", "spine.sql"])
@pytest.mark.parametrize("text", ["SELECT nothing FROM nowhere", "", "SELECT 1/", b"SELECT '\xff'"])
def test_sql_that_does_not_run_names_its_file(tmp_path: Path, name: str, text: str | bytes) -> None:
    repository = shop(tmp_path)
    file = repository.write(name, text)
    with pytest.raises(DeclarationError, match=rf"^{file.name} (does not run|is not UTF-8)") as caught:
        repository.build()
    assert caught.value.value == str(file)
    assert str(file) in caught.value.hint


@pytest.mark.parametrize("missing", ["event_timestamp", "label_timestamp"])
def test_a_spine_without_its_times(tmp_path: Path, missing: str) -> None:
    repository = shop(tmp_path)
    repository.write("spine.sql", SPINE.replace(missing, "another"))
    with pytest.raises(
        DeclarationError, match=rf"spine.sql gives no column {missing}. Valid: order_id, shop, .*another"
    ):
        repository.build()


@pytest.mark.parametrize("missing", ["event_timestamp", "created_timestamp"])
def test_a_feature_source_without_its_times(tmp_path: Path, missing: str) -> None:
    repository = shop(tmp_path, paid=PAID.replace(missing, "another"))
    with pytest.raises(
        DeclarationError, match=rf"paid.sql gives no column {missing}. Valid: shop, .*another"
    ) as caught:
        repository.build()
    assert caught.value.value == str(tmp_path / "transforms/features/paid.sql")


def test_a_repository_without_a_spine(tmp_path: Path) -> None:
    repository = shop(tmp_path)
    (tmp_path / "transforms/spine.sql").unlink()
    with pytest.raises(DeclarationError, match=r"no transforms/spine\.sql"):
        repository.build()


def test_a_repository_without_features(tmp_path: Path) -> None:
    repository = shop(tmp_path)
    (tmp_path / "transforms/features/paid.sql").unlink()
    with pytest.raises(DeclarationError, match=r"no transforms/features/\*\.sql"):
        repository.build()


def test_a_feature_source_that_takes_the_spines_name(tmp_path: Path) -> None:
    with pytest.raises(DeclarationError, match="No feature source may be called spine"):
        shop(tmp_path, spine=PAID).build()


def test_a_table_that_cannot_be_read(tmp_path: Path) -> None:
    repository = shop(tmp_path)
    repository.tables["orders"].write_bytes(b"not parquet")
    with pytest.raises(BadInput, match=r"Table orders cannot be read from .*orders\.parquet"):
        repository.build()


def test_a_target_that_cannot_be_written(tmp_path: Path) -> None:
    repository = shop(tmp_path)
    with pytest.raises(Unwritable, match=r"paid\.parquet cannot be written"):
        repository.port.build(tmp_path, repository.tables, window=WINDOW, target=tmp_path / "not" / "there")


def test_a_clock_that_staging_does_not_give(tmp_path: Path) -> None:
    repository = shop(tmp_path)
    built = repository.build()
    with pytest.raises(DeclarationError, match=r"says that paid is known at 'cashed_at', .*Valid: .*paid_at") as caught:
        repository.replay(built, START + DAY, known_at={"orders": {"paid": "cashed_at"}})
    assert caught.value.value == "cashed_at"


def test_a_clock_that_is_no_time(tmp_path: Path) -> None:
    repository = shop(tmp_path)
    built = repository.build()
    with pytest.raises(DeclarationError, match="clocks of orders cannot be compared with a time") as caught:
        repository.replay(built, START + DAY, known_at={"orders": {"paid": "delay"}})
    assert caught.value.value == "delay"


# -- the replay ----------------------------------------------------------------------------------------------------

NOON = START + timedelta(days=4, hours=12, minutes=30)


def test_features_of_what_was_known_are_rebuilt_the_same(tmp_path: Path) -> None:
    repository = shop(tmp_path)
    instants = [START + 2 * DAY, NOON]
    replays = repository.replay(repository.build(), *instants)
    assert [(replay.source, replay.instant) for replay in replays] == [("paid", instant) for instant in instants]
    assert all(replay.differing == 0 and replay.example == "" for replay in replays)
    rows = read(tmp_path / "built/paid.parquet")
    known = [sum(row["event_timestamp"] <= instant for row in rows) for instant in instants]
    assert [replay.rows for replay in replays] == known
    assert 0 < known[0] < known[1] < len(rows)


def test_a_leak_is_found_and_its_first_row_named(tmp_path: Path) -> None:
    """The feature is dated by the order, but its value was paid later."""
    repository = shop(tmp_path, paid=PAID, today=LEAK)
    paid, today = repository.replay(repository.build(), NOON)
    table = orders()
    paid_at = table["ordered_at"] + pd.to_timedelta(table["delay"], unit="h")
    leaked = table[(table["ordered_at"] <= NOON) & (paid_at > NOON)]
    assert paid.differing == 0
    assert (today.source, today.instant, today.differing) == ("today", NOON, len(leaked))
    assert today.rows == (table["ordered_at"] <= NOON).sum() > today.differing > 0
    first = leaked.sort_values(["shop", "ordered_at"]).iloc[0]
    assert today.example.startswith(f"shop={first['shop']}, event_timestamp={first['ordered_at']}")
    assert f"paid_today={first['paid']} (then None)" in today.example


def test_rows_that_come_or_go_are_differences(tmp_path: Path) -> None:
    """Which rows there are leaks too: only orders that will be paid late, and days that nobody has paid for."""
    fine = "SELECT shop, ordered_at AS event_timestamp, ordered_at AS created_timestamp, order_id FROM main.orders "
    repository = shop(tmp_path, gone=fine + "WHERE paid > 3", come=fine + "WHERE paid IS NULL")
    come, gone = repository.replay(repository.build(), NOON)
    assert come.rows == 0
    assert come.differing > 0
    assert "order_id=" in come.example
    assert "(then" not in come.example
    assert 0 < gone.differing < gone.rows
    assert "order_id=" in gone.example


def test_a_clock_hides_itself_until_its_time(tmp_path: Path) -> None:
    """How long the payment will take is known no earlier than the payment."""
    waiting = """
        SELECT shop, ordered_at AS event_timestamp, ordered_at AS created_timestamp,
            epoch(paid_at - ordered_at) AS waits
        FROM main.orders
    """
    repository = shop(tmp_path, waiting=waiting)
    (replay,) = repository.replay(repository.build(), NOON)
    assert replay.differing > 0
    assert "(then None)" in replay.example


def test_a_sum_in_another_order_is_no_leak(tmp_path: Path) -> None:
    """Large amounts, added in an order that depends on what is known: only the last digits change."""
    draw = np.random.default_rng(7)
    rows = orders(5000).assign(paid=draw.lognormal(12, 3, 5000), delay=1)
    added = """
        WITH turned AS (
            SELECT *, (SELECT count(paid) FROM main.orders) AS known FROM main.orders WHERE order_id < 90
        )
        SELECT shop, max(paid_at) AS event_timestamp, event_timestamp AS created_timestamp,
            list_sum(list(paid ORDER BY hash(order_id + known))) * 1000 AS paid, 'text' AS kind
        FROM turned GROUP BY shop
    """
    repository = shop(tmp_path, rows=rows, added=added)
    built = repository.build()
    instants = [START + timedelta(hours=hours) for hours in (100, 150, 200, 250, 300)]
    replays = repository.replay(built, *instants)
    assert [(replay.rows, replay.differing) for replay in replays] == [(2, 0)] * 5
    # a ten-millionth of it is a difference, though
    changed = added.replace("* 1000", "* CASE WHEN max(known) < 5000 THEN 1000.0001 ELSE 1000 END")
    repository.write("features/added.sql", changed)
    assert [replay.differing for replay in repository.replay(built, *instants)] == [2] * 5


def test_equal_rows_are_counted_not_merged(tmp_path: Path) -> None:
    """The same row twice where it was built once is a difference."""
    twice = """
        SELECT shop, START AS event_timestamp, START AS created_timestamp, 0.5 AS half FROM main.orders
        WHERE order_id < 3 AND (order_id = 0 OR paid IS NULL)
    """.replace("START", f"TIMESTAMPTZ '{START.isoformat()}'")
    repository = shop(tmp_path, rows=orders(10).assign(delay=5, shop="north"), twice=twice)
    (replay,) = repository.replay(repository.build(), START + timedelta(minutes=1))
    assert (replay.rows, replay.differing) == (1, 2)


# -- names that must be quoted -------------------------------------------------------------------------------------


def test_paths_and_names_that_sql_reads_otherwise(tmp_path: Path) -> None:
    """Spaces, both quotes, and what DuckDB takes for patterns; another file is what the pattern would find."""
    folder = tmp_path / 'it\'s a "shop" [t]*?'
    repository = Repository(folder=folder)
    for place in (folder, tmp_path / 'it\'s a "shop" tea'):
        place.mkdir()
        orders(3).to_parquet(place / "orders.parquet")
    repository.table("orders", orders().rename(columns={"paid": "p\"a'id"}))
    repository.tables = {'my "orders"': repository.tables["orders"]}
    staging = 'SELECT *, ordered_at + to_hours(delay) AS paid_at FROM raw."my ""orders"""'
    paid = 'SELECT paid_at AS event_timestamp, paid_at AS created_timestamp, "p""a\'id" FROM "my ""orders"""'
    spine = 'SELECT ordered_at AS event_timestamp, "p""a\'id", paid_at AS label_timestamp FROM "my ""orders"""'
    repository.write('staging/my "orders".sql', staging)
    repository.write('features/day\'s "takings".sql', f"{paid} WHERE paid_at IS NOT NULL")
    repository.write("spine.sql", spine)
    built = repository.build()
    assert list(built.sources) == ['day\'s "takings"']
    assert len(read(built.spine)) > 150
    (replay,) = repository.replay(built, NOON, known_at={'my "orders"': {"p\"a'id": "paid_at"}})
    assert (replay.source, replay.differing) == ('day\'s "takings"', 0)
    assert replay.rows > 50
