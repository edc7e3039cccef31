"""The database itself refuses whatever is not an append, from whatever client."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from ledger.conftest import Raw
from ledger.drafts import decision, fill
from towpath.ledger.sql import SqlLedger

_COLUMNS = "sequence, previous, hash, kind, project, candidate, stage, key, digest, at, actor, body"

CHANGES = [
    "UPDATE towpath_records SET actor = 'eve'",
    "UPDATE towpath_records SET body = body WHERE sequence = 2",
    (
        f"INSERT INTO towpath_records ({_COLUMNS}) SELECT {_COLUMNS} FROM towpath_records WHERE sequence = 2 "
        "ON CONFLICT (sequence) DO UPDATE SET actor = 'eve'"
    ),
]
REMOVALS = ["DELETE FROM towpath_records", "DELETE FROM towpath_records WHERE sequence = 3"]
INSERTS = {
    "behind a gap": ("9", "hash", "'h'", "NULL"),
    "a fork": ("4", "previous", "'h'", "NULL"),
    "a second first": ("4", "NULL", "'h'", "NULL"),
    "before the first": ("0", "NULL", "'h'", "NULL"),
    "the same hash": ("4", "hash", "hash", "NULL"),
    "the same key": ("4", "hash", "'h'", "key"),
}


def _refused(raw: Raw, statement: str) -> str:
    with pytest.raises(DBAPIError) as caught, raw() as connection:
        connection.execute(text(statement))
    return str(caught.value.orig)


def _into(values: str, number: int) -> str:
    return f"INTO towpath_records ({_COLUMNS}) SELECT {values} FROM towpath_records WHERE sequence = {number}"


@pytest.mark.parametrize("statement", CHANGES)
def test_a_record_cannot_be_changed(ledger: SqlLedger, raw: Raw, statement: str) -> None:
    fill(ledger, 3)
    before = list(ledger.records())
    assert "append-only" in (said := _refused(raw, statement)) or "only once" in said
    assert list(ledger.records()) == before


@pytest.mark.parametrize("statement", REMOVALS)
def test_a_record_cannot_be_removed(ledger: SqlLedger, raw: Raw, statement: str) -> None:
    fill(ledger, 3)
    before = list(ledger.records())
    assert "append-only, a record is never removed" in _refused(raw, statement)
    assert list(ledger.records()) == before


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("role", ["origin", "replica"])
def test_the_table_cannot_be_truncated_even_as_a_replica(ledger: SqlLedger, raw: Raw, role: str) -> None:
    fill(ledger, 3)
    switch = f"SET session_replication_role = {role}; "
    assert "never removed" in _refused(raw, f"{switch}TRUNCATE towpath_records")
    assert "never removed" in _refused(raw, f"{switch}DELETE FROM towpath_records")
    assert "never changed" in _refused(raw, f"{switch}UPDATE towpath_records SET actor = 'eve'")
    assert ledger.verify().records == 3


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("verb", ["INSERT OR REPLACE", "REPLACE"])
@pytest.mark.parametrize("column", ["sequence", "hash", "previous", "key"])
def test_a_record_cannot_be_replaced(ledger: SqlLedger, raw: Raw, verb: str, column: str) -> None:
    fill(ledger, 3)
    before = list(ledger.records())
    new = {"sequence": "4", "hash": "'h'", "previous": "'p'", "key": "'k'"} | {column: column}
    values = ", ".join(new.get(name, name) for name in _COLUMNS.split(", "))
    said = _refused(
        raw, f"{verb} INTO towpath_records ({_COLUMNS}) SELECT {values} FROM towpath_records WHERE sequence = 2"
    )
    assert "appended behind the last one" in said
    assert list(ledger.records()) == before


@pytest.mark.parametrize("what", INSERTS)
def test_nothing_is_inserted_but_behind_the_last(ledger: SqlLedger, raw: Raw, what: str) -> None:
    fill(ledger, 3)
    before = list(ledger.records())
    sequence, previous, hashed, key = INSERTS[what]
    new = {"sequence": sequence, "previous": previous, "hash": hashed, "key": key}
    values = ", ".join(new.get(name, name) for name in _COLUMNS.split(", "))
    _refused(raw, f"INSERT {_into(values, 3)}")
    assert list(ledger.records()) == before


@pytest.mark.parametrize(("previous", "constraint"), [("previous", "previous"), ("NULL", "towpath_records_first")])
def test_constraints_refuse_a_fork_where_no_trigger_does(
    ledger: SqlLedger, raw: Raw, previous: str, constraint: str
) -> None:
    fill(ledger, 3)
    with raw() as connection:
        table = " ON towpath_records" if connection.dialect.name == "postgresql" else ""
        connection.execute(text(f"DROP TRIGGER towpath_records_insert{table}"))
    new = {"sequence": "4", "previous": previous, "hash": "'h'", "key": "NULL"}
    values = ", ".join(new.get(name, name) for name in _COLUMNS.split(", "))
    said = _refused(
        raw, f"INSERT INTO towpath_records ({_COLUMNS}) SELECT {values} FROM towpath_records WHERE sequence = 3"
    )
    assert constraint in said


def test_appending_goes_on_after_a_refusal(ledger: SqlLedger, raw: Raw) -> None:
    fill(ledger, 2)
    _refused(raw, "DELETE FROM towpath_records")
    assert ledger.append(decision("next"), actor="ada").sequence == 3
    assert ledger.verify().whole
