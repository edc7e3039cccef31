"""Somebody with the right to switch triggers off: what they change is found, and the place named."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection, text

from ledger.conftest import Raw
from ledger.drafts import fill
from towpath.core.errors import IntegrityError
from towpath.ledger import chain
from towpath.ledger.chain import Stored
from towpath.ledger.sql import SqlLedger
from towpath.ports import Verification

_COLUMNS = ", ".join(chain.FIELDS)


@pytest.fixture
def tamper(ledger: SqlLedger, raw: Raw) -> Iterator[Connection]:
    """A connection to a ledger of five records whose triggers are gone."""
    fill(ledger, 5)
    with raw() as connection:
        table = " ON towpath_records" if connection.dialect.name == "postgresql" else ""
        for what in ("insert", "update", "delete"):
            connection.execute(text(f"DROP TRIGGER towpath_records_{what}{table}"))
        connection.commit()
        yield connection


def _after(ledger: SqlLedger, connection: Connection, *statements: str, **values: Any) -> Verification:
    for statement in statements:
        connection.execute(text(statement), values)
    connection.commit()
    return ledger.verify()


def _named(verification: Verification) -> list[int]:
    return sorted({fault.sequence for fault in verification.faults})


def _said(verification: Verification, sequence: int) -> str:
    return " ".join(fault.what for fault in verification.faults if fault.sequence == sequence)


@pytest.mark.parametrize("number", [1, 3, 5])
@pytest.mark.parametrize("column", ["project", "candidate", "stage", "key", "actor"])
def test_an_edited_text(ledger: SqlLedger, tamper: Connection, column: str, number: int) -> None:
    found = _after(ledger, tamper, f"UPDATE towpath_records SET {column} = 'other' WHERE sequence = {number}")
    assert _named(found) == [number]
    assert "was changed after it was written" in _said(found, number)


@pytest.mark.parametrize(
    ("column", "value", "says", "also"),
    [
        ("digest", "sha256:" + "0" * 64, "one of the two was changed", []),
        ("hash", "sha256:" + "0" * 64, "was changed after it was written", [4]),
        ("previous", "sha256:" + "0" * 64, "one of the two was replaced", []),
        ("kind", "incident", "was changed after it was written", []),
        ("kind", "rumour", "cannot be read: kind: Input should be", []),
        ("at", "2013-01-31T05:00:02.000003Z", "was changed after it was written", []),
        ("at", "2013-01-31 05:00:02.000002Z", "cannot be read: its time", []),
        ("at", "yesterday", "cannot be read: at: ", []),
        ("body", "{}", "Its body is no entry: ", []),
        ("body", "[]", "cannot be read: body: ", []),
        ("body", "{", "cannot be read: Expecting property name", []),
        ("body", '{"a":NaN}', "cannot be read: NaN is not JSON", []),
        ("body", '{"a":1e400}', "cannot be read: ", []),
        ("body", "[" * 100_000, "cannot be read: ", []),
        ("key", None, "was changed after it was written", []),
    ],
)
def test_an_edited_field(
    ledger: SqlLedger, tamper: Connection, column: str, value: str | None, says: str, also: list[int]
) -> None:
    found = _after(ledger, tamper, f"UPDATE towpath_records SET {column} = :value WHERE sequence = 3", value=value)
    assert _named(found) == [3, *also]
    assert says in _said(found, 3)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"outcome":"PASS"', '"outcome":"FAIL"', "one of the two was changed"),
        ('"measured":0.30000000000000004', '"measured":0.3', "one of the two was changed"),
        ('"seconds":1.5', '"seconds":1.4', "was changed after it was written"),  # a note: hashed though not digested
        ('"seconds":1.5', '"seconds":1.50', "not in canonical form"),
        ('"seconds":1.5', '"seconds":1.5,"seconds":1.5', "not in canonical form"),
        ('"seconds":1.5', '"seconds": 1.5', "not in canonical form"),
        ('"rows":3', '"rows":3.0', "not in canonical form"),
    ],
)
def test_an_edited_body(ledger: SqlLedger, tamper: Connection, old: str, new: str, says: str) -> None:
    edit = "UPDATE towpath_records SET body = replace(body, :old, :new) WHERE sequence = 3"
    before = tamper.execute(text("SELECT body FROM towpath_records WHERE sequence = 3")).scalar_one()
    assert old in before
    found = _after(ledger, tamper, edit, old=old, new=new)
    assert _named(found) == [3]
    assert says in _said(found, 3)


@pytest.mark.parametrize(("number", "missing"), [(1, "Record 1 is"), (3, "Record 3 is"), (4, "Record 4 is")])
def test_a_removed_record(ledger: SqlLedger, tamper: Connection, number: int, missing: str) -> None:
    found = _after(ledger, tamper, f"DELETE FROM towpath_records WHERE sequence = {number}")
    assert (found.records, _named(found)) == (4, [number])
    assert _said(found, number) == f"{missing} missing before record {number + 1}."


def test_several_removed_records_are_one_fault(ledger: SqlLedger, tamper: Connection) -> None:
    found = _after(ledger, tamper, "DELETE FROM towpath_records WHERE sequence < 4")
    assert [(fault.sequence, fault.what) for fault in found.faults] == [
        (1, "Records 1 to 3 are missing before record 4.")
    ]


def test_a_removed_record_whose_gap_was_closed(ledger: SqlLedger, tamper: Connection) -> None:
    found = _after(
        ledger,
        tamper,
        "DELETE FROM towpath_records WHERE sequence = 3",
        "UPDATE towpath_records SET sequence = 3 WHERE sequence = 4",
        "UPDATE towpath_records SET sequence = 4 WHERE sequence = 5",
    )
    assert _named(found) == [3, 4]
    assert "one of the two was replaced" in _said(found, 3)


def test_an_edited_sequence(ledger: SqlLedger, tamper: Connection) -> None:
    found = _after(ledger, tamper, "UPDATE towpath_records SET sequence = 13 WHERE sequence = 3")
    assert _named(found) == [3, 6, 13]
    assert "Record 3 is missing" in _said(found, 3)
    assert "Records 6 to 12 are missing" in _said(found, 6)


def test_records_that_changed_places(ledger: SqlLedger, tamper: Connection) -> None:
    found = _after(
        ledger,
        tamper,
        "UPDATE towpath_records SET sequence = 99 WHERE sequence = 2",
        "UPDATE towpath_records SET sequence = 2 WHERE sequence = 4",
        "UPDATE towpath_records SET sequence = 4 WHERE sequence = 99",
    )
    assert _named(found) == [2, 3, 4, 5]


def test_bodies_that_changed_places(ledger: SqlLedger, tamper: Connection) -> None:
    bodies: dict[int, str] = {
        row.sequence: row.body for row in tamper.execute(text("SELECT sequence, body FROM towpath_records"))
    }
    edit = "UPDATE towpath_records SET body = CASE sequence WHEN 2 THEN :four ELSE :two END WHERE sequence IN (2, 4)"
    found = _after(ledger, tamper, edit, two=bodies[2], four=bodies[4])
    assert _named(found) == [2, 4]


def test_an_inserted_record(ledger: SqlLedger, tamper: Connection) -> None:
    forged = _sealed(_rows(tamper)[3], actor="eve", key="forged", sequence=4)
    found = _after(
        ledger,
        tamper,
        "UPDATE towpath_records SET sequence = 6 WHERE sequence = 5",
        "UPDATE towpath_records SET sequence = 5, previous = 'sha256:x' WHERE sequence = 4",
        *_insert(forged),
    )
    assert found.records == 6
    assert _named(found) == [5, 6]


def test_a_record_rewritten_with_a_fitting_hash_no_longer_carries_the_next(
    ledger: SqlLedger, tamper: Connection
) -> None:
    forged = _sealed(_rows(tamper)[2], actor="eve")
    found = _after(ledger, tamper, "DELETE FROM towpath_records WHERE sequence = 3", *_insert(forged))
    assert _named(found) == [4]
    assert f"record 3 has the hash {forged.hash}" in _said(found, 4)


def test_a_record_that_is_there_twice(ledger: SqlLedger, tamper: Connection) -> None:
    copy = f"CREATE TABLE copied AS SELECT {_COLUMNS} FROM towpath_records"
    drop = "DROP TABLE towpath_records"
    twice = "INSERT INTO copied SELECT * FROM copied WHERE sequence = 3"
    found = _after(ledger, tamper, copy, drop, twice, "ALTER TABLE copied RENAME TO towpath_records")
    assert (found.records, _named(found)) == (6, [3])
    assert "twice or out of order" in _said(found, 3)


def test_what_a_chain_cannot_show_is_shown_by_a_head_that_was_noted(ledger: SqlLedger, tamper: Connection) -> None:
    noted = ledger.verify()
    cut = _after(ledger, tamper, "DELETE FROM towpath_records WHERE sequence > 3")
    assert cut.whole
    assert (cut.records, cut.head) != (noted.records, noted.head)

    rows = [replace(row, actor="eve") for row in _rows(tamper)]
    rewritten = _after(ledger, tamper, "DELETE FROM towpath_records", *_insert(*_rechained(rows)))
    assert rewritten.whole
    assert rewritten.records == cut.records
    assert rewritten.head != cut.head


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("column", ["body", "actor", "at", "hash"])
def test_text_that_is_no_utf8(ledger: SqlLedger, tamper: Connection, column: str) -> None:
    found = _after(ledger, tamper, f"UPDATE towpath_records SET {column} = CAST(x'22ff22' AS TEXT) WHERE sequence = 3")
    assert 3 in _named(found)


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("value", ["x'7b7d'", "17", "1.5"])
def test_values_of_another_type(ledger: SqlLedger, tamper: Connection, value: str) -> None:
    rows = {row.sequence: row for row in _rows(tamper)}
    for column in set(chain.FIELDS) - {"sequence"}:
        found = _after(ledger, tamper, f"UPDATE towpath_records SET {column} = {value} WHERE sequence = 3")
        assert 3 in _named(found), column
        restore = f"UPDATE towpath_records SET {column} = :value WHERE sequence = 3"
        assert _after(ledger, tamper, restore, value=getattr(rows[3], column)).whole


def test_many_faults_are_all_named(ledger: SqlLedger, tamper: Connection) -> None:
    found = _after(ledger, tamper, "UPDATE towpath_records SET actor = 'eve'")
    assert _named(found) == [1, 2, 3, 4, 5]


def test_a_record_that_cannot_be_read_raises(ledger: SqlLedger, tamper: Connection) -> None:
    key = _rows(tamper)[2].key
    _after(ledger, tamper, "UPDATE towpath_records SET body = '{' WHERE sequence = 3")
    with pytest.raises(IntegrityError, match=r"Record 3 of the ledger cannot be read.*ledger verify") as caught:
        ledger.find(str(key))
    assert caught.value.gate == "integrity.ledger"
    with pytest.raises(IntegrityError, match="Record 3"):
        list(ledger.records())


def _rows(connection: Connection) -> list[Stored]:
    found = connection.execute(text(f"SELECT {_COLUMNS} FROM towpath_records ORDER BY sequence")).mappings()
    return [Stored(**row) for row in found]


def _sealed(row: Stored, **changes: Any) -> Stored:
    """The row with changes, and the hash that fits them."""
    changed = replace(row, **changes)
    return replace(changed, hash=chain.hash_of(changed))


def _rechained(rows: Iterable[Stored]) -> Iterator[Stored]:
    previous = None
    for row in rows:
        sealed = _sealed(row, previous=previous)
        previous = sealed.hash
        yield sealed


def _insert(*rows: Stored) -> Iterator[str]:
    for row in rows:
        values = ", ".join(_literal(getattr(row, name)) for name in chain.FIELDS)
        yield f"INSERT INTO towpath_records ({_COLUMNS}) VALUES ({values})"


def _literal(value: str | int | None) -> str:
    if value is None:
        return "NULL"
    # SQLAlchemy reads `:name` in a statement as a parameter.
    return str(value) if isinstance(value, int) else "'" + value.replace("'", "''").replace(":", "\\:") + "'"
