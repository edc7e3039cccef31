"""Masks applied while a source is read: every kind of value, every format, and what is refused without telling."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from towpath.adapters.sources import UriSources
from towpath.core.errors import BadInput
from towpath.core.masking import PSEUDONYM, Mask, Masking, Method, PseudonymKey

KEY = PseudonymKey(name="default", version=3, secret=b"k" * 32)
NAMED = Mask(method=Method.PSEUDONYM, key="default")
CANARY = "canary-7f3a"


def masking(**masks: Mask | None) -> Masking:
    """A table with these columns, those with a mask masked."""
    return Masking(
        columns=tuple(masks), masks={name: mask for name, mask in masks.items() if mask}, keys={"default": KEY}
    )


def parquet(base: Path, **columns: Any) -> str:
    pq.write_table(pa.table(columns), base / "t.parquet")
    return "t.parquet"


def taken(base: Path, uri: str, given: Masking, until: tuple[str, datetime] | None = None) -> pa.Table:
    snapshot = UriSources().snapshot(uri, base=base, target=base / "out" / "t.parquet", until=until, masking=given)
    table = pq.read_table(snapshot.file)
    assert {field.name: str(field.type) for field in table.schema} == snapshot.columns
    return table


def refused(base: Path, uri: str, given: Masking) -> str:
    with pytest.raises(BadInput) as caught:
        taken(base, uri, given)
    error = caught.value
    assert not (base / "out").exists() or not list((base / "out").iterdir()), "a refused snapshot leaves nothing"
    assert error.__cause__ is None, "a traceback tells the cause"
    shown = str(error)
    assert CANARY not in f"{shown} {error.value} {error.valid}"
    return shown


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (pa.array(["a", None, "ä ", "a", ""]), ["a", None, "ä ", "a", ""]),
        (pa.array(["a", "b", "a"]).dictionary_encode(), ["a", "b", "a"]),
        (pa.array(["a"], pa.large_string()), ["a"]),
        (pa.array([7, None, -7], pa.int32()), ["7", None, "-7"]),
        (pa.array([2**64 - 1], pa.uint64()), [str(2**64 - 1)]),
        (pa.array([7.0, None, -0.0]), ["7", None, "0"]),
        (pa.array([date(1990, 2, 1)]), ["1990-02-01"]),
        (pa.array([None, None], pa.null()), [None, None]),
    ],
)
def test_a_pseudonym_is_of_the_values_text(tmp_path: Path, values: pa.Array, texts: list[str | None]) -> None:
    found = taken(tmp_path, parquet(tmp_path, it=values), masking(it=NAMED))["it"]
    assert found.type == pa.string()
    assert found.to_pylist() == [None if text is None else KEY.pseudonym(text) for text in texts]
    assert all(PSEUDONYM.fullmatch(one) for one in found.to_pylist() if one is not None)


@pytest.mark.parametrize(
    ("mask", "values", "masked"),
    [
        (Mask(method=Method.YEAR), pa.array([date(1990, 5, 17), None, date(1969, 12, 31)]),
         [date(1990, 1, 1), None, date(1969, 1, 1)]),
        (Mask(method=Method.MONTH), pa.array([datetime(2000, 2, 29, 23, 59, tzinfo=UTC)], pa.timestamp("us", "UTC")),
         [datetime(2000, 2, 1, tzinfo=UTC)]),
        (Mask(method=Method.YEAR), pa.array([86_399_999], pa.timestamp("ms")), [datetime(1970, 1, 1)]),  # noqa: DTZ001
        (Mask(method=Method.BUCKET, width=10), pa.array([0, 9, 10, -1, None], pa.int16()), [0, 0, 10, -10, None]),
        (Mask(method=Method.BUCKET, width=2**40), pa.array([2**62 + 1]), [2**62]),
        (Mask(method=Method.BUCKET, width=2.5), pa.array([4.9, -0.1, None]), [2.5, -2.5, None]),
        (Mask(method=Method.BUCKET, width=0.5), pa.array([3, None]), [3.0, None]),
        (Mask(method=Method.BUCKET, width=100), pa.array([199.99]), [100.0]),
        (Mask(method=Method.FIRST, length=2), pa.array(["äöü", "x", "", None, "ab"]), ["äö", "x", "", None, "ab"]),
        (Mask(method=Method.FIRST, length=2), pa.array([90210, 7]), ["90", "7"]),
    ],
)  # fmt: skip
def test_a_value_becomes_coarser(tmp_path: Path, mask: Mask, values: pa.Array, masked: list[Any]) -> None:
    assert taken(tmp_path, parquet(tmp_path, it=values), masking(it=mask))["it"].to_pylist() == masked


def test_a_dropped_column_is_gone_and_the_others_stay(tmp_path: Path) -> None:
    uri = parquet(tmp_path, id=[2, 1], email=[CANARY, CANARY], note=["x", "y"])
    found = taken(
        tmp_path, uri, masking(id=None, email=Mask(method=Method.DROP), note=None, fax=Mask(method=Method.DROP))
    )
    assert found.to_pydict() == {"id": [2, 1], "note": ["x", "y"]}
    assert CANARY.encode() not in (tmp_path / "out" / "t.parquet").read_bytes()


def test_rows_are_cut_before_they_are_masked(tmp_path: Path) -> None:
    at = pa.array([datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 1, 3, tzinfo=UTC)], pa.timestamp("us", "UTC"))
    uri = parquet(tmp_path, at=at, born=[date(1990, 5, 1), date(1991, 5, 1)])
    given = masking(at=None, born=Mask(method=Method.YEAR))
    found = taken(tmp_path, uri, given, until=("at", datetime(2020, 1, 2, tzinfo=UTC)))
    assert found["born"].to_pylist() == [date(1990, 1, 1)]


def test_many_rows_are_masked_one_by_one(tmp_path: Path) -> None:
    count = 140_000  # more than a group of Parquet's and two batches
    lines = ["id,email", *(f"{n},{n}@{CANARY}" for n in range(count))]
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    found = taken(tmp_path, "t.csv", masking(id=None, email=NAMED))["email"].to_pylist()
    assert [found[n] for n in (0, 131_072, count - 1)] == [
        KEY.pseudonym(f"{n}@{CANARY}") for n in (0, 131_072, count - 1)
    ]
    assert len(set(found)) == count


def test_a_database_gives_the_same_pseudonyms(tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 't.db'}")
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE t (id INTEGER PRIMARY KEY, email TEXT)"))
        connection.execute(sa.text("INSERT INTO t VALUES (1, 'ada'), (2, NULL)"))
    engine.dispose()
    found = taken(tmp_path, "sqlite:///t.db#t", masking(id=NAMED, email=NAMED))
    assert found.to_pydict() == {
        "id": [KEY.pseudonym("1"), KEY.pseudonym("2")],
        "email": [KEY.pseudonym("ada"), None],
    }


@pytest.mark.parametrize(
    ("values", "mask", "said"),
    [
        (pa.array([7.5]), NAMED, "column 'it' has a value that has no pseudonym by key default."),
        (pa.array([float("nan")]), NAMED, "has a value that has no pseudonym"),
        (pa.array([True]), NAMED, "column 'it' is bool, which has no pseudonym by key default."),
        (pa.array([b"x"]), NAMED, "column 'it' is binary, which has no pseudonym"),
        (pa.array([[1]]), Mask(method=Method.FIRST, length=1), "which has no first 1 characters."),
        (pa.array([CANARY]), Mask(method=Method.YEAR), "column 'it' is string, which has no year."),
        (pa.array([CANARY]), Mask(method=Method.BUCKET, width=2), "column 'it' is string, which has no bucket of 2."),
        (pa.array([2**64 - 1], pa.uint64()), Mask(method=Method.BUCKET, width=2), "has a value that has no bucket"),
        (pa.array([b"caf\xe9"]).view(pa.string()), NAMED, "has a value that has no pseudonym"),
        (
            pa.array([-(2**63) + 1], pa.timestamp("ns")),
            Mask(method=Method.YEAR),
            "column 'it' has a value that has no year.",
        ),
        (pa.array([-(2**63)]), Mask(method=Method.BUCKET, width=10), "has a value that has no bucket of 10."),
    ],
)
def test_what_cannot_be_masked_is_refused(tmp_path: Path, values: pa.Array, mask: Mask, said: str) -> None:
    assert said in refused(tmp_path, parquet(tmp_path, it=values), masking(it=mask))


def test_a_table_with_masks_is_taken_only_as_declared(tmp_path: Path) -> None:
    uri = parquet(tmp_path, id=[1], e_mail=[CANARY])
    said = refused(tmp_path, uri, masking(id=None, email=Mask(method=Method.DROP)))
    assert "t.parquet has columns that its contract does not declare: number 2. Valid: id, email." in said
    assert "a renamed column would come unmasked" in said
    said = refused(tmp_path, parquet(tmp_path, id=[1]), masking(id=None, email=NAMED))
    assert "t.parquet has no column 'email', which its contract masks." in said


_BLUNT = "cannot be read, and why is not said: it may quote values, and columns of it are masked."


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"1,{CANARY}\n2,x\n", _BLUNT),  # no header
        (f"{CANARY},it\n2,x\n", "columns that its contract does not declare: number 1."),
        (f"{CANARY},{CANARY},it\n", _BLUNT),
        (f"id,it\n1,{CANARY},{CANARY}\n", "t.csv, line 2: 3 fields where the header has 2."),
        (f'id,it\n1,"{CANARY}\n', "t.csv, line 2: bad quotes"),
    ],
)
def test_errors_of_a_masked_file_quote_no_value(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    assert said in refused(tmp_path, "t.csv", masking(id=None, it=NAMED))


def test_errors_of_a_masked_database_quote_no_value(tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 't.db'}")
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE t (it INTEGER)"))
        connection.execute(sa.text(f"INSERT INTO t VALUES ('{CANARY}')"))
        connection.execute(sa.text("CREATE TABLE u (it TEXT)"))
        connection.execute(sa.text(f"INSERT INTO u VALUES (CAST(X'{CANARY.encode().hex()}FF' AS TEXT))"))
    engine.dispose()
    for table in ("t", "u"):
        said = refused(tmp_path, f"sqlite:///t.db#{table}", masking(it=NAMED))
        assert _BLUNT in said
        assert CANARY not in said


def test_without_masks_errors_say_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(f"1,{CANARY}\n2,x\n")
    with pytest.raises(BadInput, match="the first line looks like data"):
        UriSources().snapshot("t.csv", base=tmp_path, target=tmp_path / "t.parquet", until=None)
