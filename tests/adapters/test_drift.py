"""Evidently's drift report on real files: the same data, moved data, and columns that cannot be compared plainly."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from towpath.adapters.evidently_drift import MAX_LEVELS, EvidentlyDrift
from towpath.core.errors import BadInput, NotFound, Unwritable
from towpath.core.evidence import Outcome
from towpath.measure.drift import findings
from towpath.ports import DriftReport, DriftReports

COLUMNS = ("delay", "seats", "carrier", "late", "always")


def table(rows: int, *, seed: int, **changed: object) -> pa.Table:
    generator = np.random.default_rng(seed)
    columns: dict[str, object] = {
        "delay": np.where(generator.random(rows) < 0.1, np.nan, generator.normal(5, 20, rows)),
        "seats": generator.integers(50, 300, rows),
        "carrier": generator.choice(["UA", "DL", "AA"], rows),
        "late": generator.random(rows) < 0.2,
        "always": np.full(rows, 7),
    }
    return pa.table({**columns, **changed})


def compare(
    folder: Path, before: pa.Table, after: pa.Table, *, columns: tuple[str, ...] = COLUMNS, **options: int
) -> DriftReport:
    for name, rows in (("reference", before), ("current", after)):
        pq.write_table(rows, folder / f"{name}.parquet", row_group_size=500)
    port: DriftReports = EvidentlyDrift(**options)
    return port.compare(
        folder / "reference.parquet", folder / "current.parquet", columns=columns, folder=folder / "out"
    )


def test_the_same_data_has_not_drifted_and_the_page_opens_on_its_own(tmp_path: Path) -> None:
    report = compare(tmp_path, table(2_000, seed=1), table(2_000, seed=2))
    assert report.drifted == ()
    assert set(report.distances) == set(report.method) == set(COLUMNS)
    assert report.method["delay"].startswith("wasserstein")
    assert report.method["carrier"].startswith("jensenshannon")
    assert findings(report, share=0.0)[0].outcome is Outcome.PASS
    page = report.page.read_text(encoding="utf-8")
    assert "Drift: 0 of 5 columns" in page
    assert "All 2,000 rows of the reference were used" in page
    assert "<script src=" not in page
    assert '<link rel="stylesheet"' not in page


def test_moved_numbers_words_and_missing_values_are_found(tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    moved = table(
        2_000,
        seed=4,
        delay=np.where(generator.random(2_000) < 0.5, np.nan, generator.normal(5, 20, 2_000)),
        seats=generator.integers(150, 400, 2_000),
        carrier=generator.choice(["UA", "DL", "AA", "XX"], 2_000),
        always=np.full(2_000, 8),
    )
    report = compare(tmp_path, table(2_000, seed=1), moved)
    assert report.drifted == ("delay", "seats", "carrier", "always")
    assert "missing values" in report.method["delay"]
    assert report.distances["seats"] == pytest.approx(100 / np.std(np.arange(50, 300)), rel=0.05)
    found = findings(report, share=0.3)[0]
    assert found.outcome is Outcome.FAIL
    assert "4 of 5 columns" in found.reason


@pytest.mark.slow
def test_distances_do_not_change_from_process_to_process(tmp_path: Path) -> None:
    report = compare(tmp_path, table(500, seed=1), table(500, seed=2))
    code = (
        "import sys; from pathlib import Path; from towpath.adapters.evidently_drift import EvidentlyDrift\n"
        "folder = Path(sys.argv[1])\n"
        "names = ('reference', 'current')\n"
        "files = [folder / f'{name}.parquet' for name in names]\n"
        f"print(dict(EvidentlyDrift().compare(*files, columns={COLUMNS!r}, folder=folder / 'again').distances))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == str(dict(report.distances))


def test_a_column_without_values_is_a_clear_result(tmp_path: Path) -> None:
    gone = table(300, seed=2, delay=pa.nulls(300), carrier=pa.nulls(300, pa.string()))
    report = compare(tmp_path, table(300, seed=1), gone)
    assert {"delay", "carrier"} <= set(report.drifted)
    assert report.distances["delay"] == 1
    assert report.method["delay"] == "no values in the current sample"
    both = compare(tmp_path, gone, gone, columns=("delay", "carrier"))
    assert (both.drifted, both.method["delay"]) == ((), "no values in either sample")
    assert "Drift: 0 of 2 columns" in both.page.read_text(encoding="utf-8")


def test_infinities_decimals_and_dictionaries_are_compared(tmp_path: Path) -> None:
    before = table(
        300,
        seed=1,
        delay=pa.array([1.0, float("inf"), 2.0] * 100),
        seats=pa.array([Decimal(1), Decimal(2), Decimal(3)] * 100),
    )
    after = before.set_column(2, "carrier", before.column("carrier").dictionary_encode())
    report = compare(tmp_path, before, after)
    assert report.drifted == ()
    assert report.distances == dict.fromkeys(COLUMNS, 0.0)


def test_rare_words_are_compared_together(tmp_path: Path) -> None:
    """Ten thousand tail numbers would drift by sampling alone."""
    generator = np.random.default_rng(8)
    before, after = (
        table(3_000, seed=1, carrier=[f"N{n}" for n in generator.integers(0, 10_000, 3_000)]) for _ in range(2)
    )
    report = compare(tmp_path, before, after, columns=("carrier",))
    assert report.drifted == ()
    assert f"the {MAX_LEVELS} most frequent" in report.page.read_text(encoding="utf-8")


def test_large_files_are_sampled_by_seed_and_the_page_says_so(tmp_path: Path) -> None:
    before, after = table(5_000, seed=1), table(800, seed=2)
    one, two = (compare(tmp_path, before, after, columns=("delay",), max_rows=1_000, seed=seed) for seed in (1, 1))
    other = compare(tmp_path, before, after, columns=("delay",), max_rows=1_000, seed=2)
    assert one.distances == two.distances != other.distances
    assert "Of the reference&#39;s 5,000 rows, 1,000 were drawn by seed 2" in other.page.read_text(
        encoding="utf-8"
    ).replace("'", "&#39;")


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"carrier": [1] * 10}, "'carrier' holds words or booleans in the reference, but a number"),
        ({"delay": pa.array([0] * 10, pa.timestamp("us"))}, r"'delay' of current\.parquet is of type timestamp"),
    ],
)
def test_other_types_are_refused_by_name(tmp_path: Path, changed: dict[str, object], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        compare(tmp_path, table(10, seed=1), table(10, seed=2, **changed))


def test_what_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    good = table(10, seed=1)
    with pytest.raises(BadInput, match=r"current\.parquet has no column 'late'.*Valid: always, carrier"):
        compare(tmp_path, good, good.drop_columns(["late"]))
    with pytest.raises(BadInput, match=r"current\.parquet has no rows"):
        compare(tmp_path, good, good.slice(0, 0))
    with pytest.raises(BadInput, match="No column was named"):
        compare(tmp_path, good, good, columns=())
    with pytest.raises(NotFound, match=r"nowhere\.parquet"):
        EvidentlyDrift().compare(tmp_path / "nowhere.parquet", tmp_path, columns=COLUMNS, folder=tmp_path)
    (tmp_path / "words.parquet").write_text("no Parquet")
    with pytest.raises(BadInput, match="cannot be read as Parquet"):
        EvidentlyDrift().compare(tmp_path / "words.parquet", tmp_path, columns=COLUMNS, folder=tmp_path)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file stands where the folder should")
    with pytest.raises(Unwritable, match="drift page"):
        compare(tmp_path, table(50, seed=1), table(50, seed=2), columns=("seats",))


def test_the_adapter_is_imported_without_evidently() -> None:
    code = "import sys, towpath.adapters.evidently_drift; print('evidently' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
