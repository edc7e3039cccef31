"""The schema's versions: made from nothing, left alone when current, refused when unknown."""

from __future__ import annotations

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from ledger.conftest import Raw
from ledger.drafts import fill, ticking
from towpath.core.errors import Misconfigured
from towpath.ledger import schema
from towpath.ledger.sql import SqlLedger
from towpath.ledger.table import VERSION_TABLE, metadata


def test_migrations_create_the_table_that_queries_expect(ledger: SqlLedger, raw: Raw) -> None:
    with raw() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE, "compare_type": True})
        assert compare_metadata(context, metadata) == []
        checks = inspect(connection).get_check_constraints("towpath_records")
        assert [check["name"] for check in checks] == ["towpath_records_first"]


def test_our_names_stand_beside_those_of_others(url: str, raw: Raw) -> None:
    with raw() as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32))"))
        connection.execute(text("INSERT INTO alembic_version VALUES ('of another service')"))
    SqlLedger.open(url, clock=ticking()).close()
    with raw() as connection:
        assert set(inspect(connection).get_table_names()) == {
            *("alembic_version", "towpath_records", "towpath_rollouts", "towpath_tokens", "towpath_claims"),
            VERSION_TABLE,
        }
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one() == "of another service"


def test_opening_a_second_time_changes_nothing(url: str, raw: Raw) -> None:
    for _ in range(2):
        with SqlLedger.open(url, clock=ticking()) as ledger:
            fill(ledger, 2)
    with raw() as connection:
        versions = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalars().all()
    assert versions == ScriptDirectory(str(schema.MIGRATIONS)).get_heads()


def test_opening_waits_for_no_writer_when_the_schema_is_current(ledger: SqlLedger, url: str) -> None:
    with ledger._database.writing():
        SqlLedger.open(url, clock=ticking()).close()


def test_a_newer_schema_is_refused_and_left_alone(ledger: SqlLedger, url: str, raw: Raw) -> None:
    fill(ledger, 2)
    with raw() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    with pytest.raises(Misconfigured, match=r"version 9999, which this version of Towpath does not know.*upgrade"):
        SqlLedger.open(url, clock=ticking())
    assert ledger.verify().records == 2


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_sqlite_writes_ahead_and_through_to_the_disk(ledger: SqlLedger) -> None:
    with ledger._database.reading() as connection:
        settings = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "busy_timeout")
        ]
    assert settings == ["wal", 2, 30_000]


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_postgresql_reads_what_is_committed_whatever_its_default(url: str, raw: Raw) -> None:
    with raw() as connection:
        name = connection.execute(text("SELECT current_database()")).scalar_one()
        connection.execute(text(f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'"))
    with SqlLedger.open(url, clock=ticking()) as ledger, ledger._database.reading() as connection:
        assert connection.execute(text("SHOW transaction_isolation")).scalar_one() == "read committed"
