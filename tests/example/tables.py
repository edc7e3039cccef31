"""A database with the example's tables, raw and staged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb

from towpath.example.landing import MONTHLY, WHOLE

ROOT = Path(__file__).resolve().parents[2]
REPOSITORY = ROOT / "feature_repo"
TABLES = (*MONTHLY, *WHOLE)


class Example:
    """A DuckDB database with the raw tables in schema `raw` and what the repository's SQL makes of them in `main`."""

    def __init__(self, folder: Path, *, zone: str = "UTC") -> None:
        self.database = duckdb.connect()
        self.database.execute(f"SET TimeZone = '{zone}'; CREATE SCHEMA raw")
        for table in TABLES:
            files = folder / table / "*.csv" if table in MONTHLY else folder / f"{table}.csv"
            self.database.execute(f"CREATE TABLE raw.{table} AS FROM read_csv(?, sample_size = -1)", [str(files)])
        self.stage()

    def stage(self) -> None:
        for table in TABLES:
            file = REPOSITORY / "transforms" / "staging" / f"{table}.sql"
            text = file.read_text() if file.exists() else f"FROM raw.{table}"
            self.database.execute(f"CREATE OR REPLACE TABLE main.{table} AS {text}")

    def rows(self, query: str) -> Sequence[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = self.database.execute(query).fetchall()
        return found

    def value(self, query: str) -> Any:
        return self.rows(query)[0][0]

    def columns(self, table: str) -> Mapping[str, str]:
        return {row[0]: row[1] for row in self.rows(f"DESCRIBE {table}")}
