"""The shop's tables as Parquet files, and as tables of a PostgreSQL database."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import duckdb
import psycopg

from towpath.core.checks_sql import literal

CUSTOMERS = "SELECT n AS id, 'c' || n || '@example.com' AS email FROM range(1, 11) AS rows(n)"
ORDERS = """
SELECT
    n AS id,
    n AS customer,
    CASE WHEN n = 3 THEN NULL ELSE 'AB-' || n || ':x' END AS code,
    CASE WHEN n % 2 = 0 THEN 'new' WHEN n = 5 THEN NULL ELSE 'it''s paid' END AS state,
    CASE WHEN n = 2 THEN 'XXL' WHEN n = 5 THEN NULL ELSE 'S' END AS size,
    CASE WHEN n = 4 THEN NULL ELSE round(n * 0.3, 1)::DOUBLE END AS amount,
    CASE WHEN n = 4 THEN NULL ELSE n END AS pieces,
    CASE WHEN n = 1 THEN '' WHEN n = 2 THEN NULL ELSE 'note ' || n END AS note,
    CASE WHEN n < 4 THEN NULL ELSE 'coupon ' || n END AS coupon,
    DATE '2024-06-01' AS placed_on,
    TIMESTAMPTZ '2024-06-01 08:00:00+00' + to_hours(n) AS placed_at,
    CASE WHEN n = 6 THEN NULL ELSE TIMESTAMP '2024-06-02 08:00:00' + to_hours(n) END AS packed_at
FROM range(1, 11) AS rows(n)
"""


def write(folder: Path, *, orders: str = "SELECT * FROM orders", customers: str = CUSTOMERS) -> dict[str, Path]:
    """The tables as files; `orders` is a query of the orders as they should be."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {"orders": folder / "orders.parquet", "customers": folder / "customers.parquet"}
    with duckdb.connect() as connection:
        connection.execute(f"SET TimeZone = 'UTC'; CREATE TABLE orders AS {ORDERS}")
        connection.execute(f"COPY ({orders}) TO '{files['orders']}' (FORMAT parquet)")
        connection.execute(f"COPY ({customers}) TO '{files['customers']}' (FORMAT parquet)")
    return files


def load(files: Mapping[str, Path], url: str, *, schema: str) -> None:
    """The same rows as tables of a schema."""
    with duckdb.connect() as reader, psycopg.connect(url) as writer:
        reader.execute("SET TimeZone = 'UTC'")
        writer.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE; CREATE SCHEMA "{schema}"')
        for name, file in files.items():
            path = literal(str(file))
            described = reader.execute(f"DESCRIBE SELECT * FROM read_parquet({path})").fetchall()
            columns = [(row[0], row[1].replace("DOUBLE", "DOUBLE PRECISION")) for row in described]
            made = ", ".join(f'"{column}" {kind}' for column, kind in columns)
            writer.execute(f'CREATE TABLE "{schema}"."{name}" ({made})')
            texts = ", ".join(f'CAST("{column}" AS VARCHAR)' for column, _ in columns)
            with writer.cursor().copy(f'COPY "{schema}"."{name}" FROM STDIN') as copy:
                for row in reader.execute(f"SELECT {texts} FROM read_parquet({path})").fetchall():
                    copy.write_row(row)
