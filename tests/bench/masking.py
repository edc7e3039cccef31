"""What masks add to reading 3.4 million rows: each mask alone, against the same snapshot without one.

Run it with `.venv/bin/python tests/bench/masking.py`. Seconds are the processor's, which other programs on the machine
change little; memory is the peak of a process that reads with that mask only.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import tempfile
import time
from pathlib import Path

import duckdb

from towpath.adapters.sources import UriSources
from towpath.core.masking import Mask, Masking, Method, PseudonymKey

ROWS = 3_367_760
COLUMNS = ("id", "email", "person", "born", "income")
MASKS = {
    "no mask": {},
    "pseudonym, all values distinct": {"email": Mask(method=Method.PSEUDONYM, key="default")},
    "pseudonym, 10,000 values": {"person": Mask(method=Method.PSEUDONYM, key="default")},
    "year": {"born": Mask(method=Method.YEAR)},
    "bucket": {"income": Mask(method=Method.BUCKET, width=1000)},
    "first": {"email": Mask(method=Method.FIRST, length=3)},
    "drop": {"email": Mask(method=Method.DROP)},
}


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch)
        duckdb.sql(
            f"""COPY (SELECT i AS id, 'person' || i || '@example.org' AS email, 'c' || (hash(i) % 10000) AS person,
            DATE '1940-01-01' + (hash(i) % 25000)::INTEGER AS born, (hash(i) % 9000000) / 100.0 AS income
            FROM range({ROWS}) t(i)) TO '{base / "people.parquet"}' (FORMAT parquet)"""
        )
        sys.stdout.write(f"{ROWS:,} rows from Parquet\n{'mask':<32}{'seconds':>9}{'peak MB':>9}\n")
        for name in MASKS:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                seconds, peak = pool.apply(measured, (str(base), name))
            sys.stdout.write(f"{name:<32}{seconds:>9.2f}{peak:>9.0f}\n")
            sys.stdout.flush()


def measured(base: str, name: str) -> tuple[float, float]:
    """Seconds of the processor, and the peak of resident memory in MB."""
    key = PseudonymKey(name="default", version=1, secret=b"k" * 32)
    masking = Masking(columns=COLUMNS, masks=MASKS[name], keys={"default": key}) if MASKS[name] else None
    began = time.process_time()
    UriSources().snapshot(
        "people.parquet", base=Path(base), target=Path(base) / "out.parquet", until=None, masking=masking
    )
    return time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
