"""Each way in which the world refuses is an error of its own class, with what to do; passwords stay out of it."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import event

from ledger.drafts import START, decision, fill, ticking
from servers.postgres import PASSWORD
from towpath.core.errors import IntegrityError, Misconfigured, TowpathError, Unreachable, Unwritable
from towpath.ledger.sql import SqlLedger

_PLATFORM = Path(__file__).parents[2] / "platform"


def _refused(url: str) -> TowpathError:
    with pytest.raises(TowpathError) as caught:
        SqlLedger.open(url, clock=ticking())
    assert "secret" not in str(caught.value)
    assert PASSWORD not in str(caught.value)
    return caught.value


# --- URLs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ledger.db",
        "mysql://ada:secret@host/db",
        "postgresql+psycopg2://ada:secret@host/db",
        "postgresql://a:b:c@d:secret/x",
    ],
)
def test_another_url_is_refused_with_the_valid_forms(url: str) -> None:
    error = _refused(url)
    assert isinstance(error, Misconfigured)
    assert error.valid == ("sqlite:///PATH", "postgresql://USER:PASSWORD@HOST:PORT/DATABASE")


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "sqlite:///file:x.db?uri=true"])
def test_a_ledger_that_would_not_last_is_refused(url: str) -> None:
    error = _refused(url)
    assert isinstance(error, Misconfigured)
    assert error.valid == ("sqlite:///PATH",)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_postgresql_is_spoken_to_through_psycopg(postgres_database: str, scheme: str) -> None:
    with SqlLedger.open(postgres_database.replace("postgresql", scheme, 1), clock=ticking()) as ledger:
        assert ledger._database.engine.driver == "psycopg"
        assert PASSWORD not in ledger._database.name


def test_a_sqlite_path_is_relative_to_where_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with SqlLedger.open("sqlite:///state/ledger.db", clock=ticking()) as ledger:
        monkeypatch.chdir("/")
        fill(ledger, 1)
    assert (tmp_path / "state" / "ledger.db").is_file()


# --- SQLite -----------------------------------------------------------------------------------------------------------


def test_a_path_that_cannot_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "ledger.db", tmp_path):
        assert isinstance(_refused(f"sqlite:///{path}"), Unwritable)


@pytest.mark.parametrize("what", ["folder", "file"])
def test_a_read_only_place_is_unwritable(tmp_path: Path, what: str) -> None:
    file = tmp_path / "state" / "ledger.db"
    SqlLedger.open(f"sqlite:///{file}", clock=ticking()).close()
    path = file if what == "file" else file.parent
    path.chmod(0o444 if what == "file" else 0o555)
    program = (
        "import sys; from datetime import UTC, datetime\n"
        "from towpath.core.errors import TowpathError; from towpath.ledger.sql import SqlLedger\n"
        "try: SqlLedger.open(sys.argv[1], clock=lambda: datetime.now(UTC))\n"
        "except TowpathError as error: sys.stdout.write(f'{error.code}: {error}')"
    )
    # Root may write anywhere unless it gives that right up.
    drop = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--"] if os.geteuid() == 0 else []
    done = subprocess.run(
        [*drop, sys.executable, "-c", program, f"sqlite:///{file}"],
        env={**os.environ, "PYTHONPATH": str(_PLATFORM)},
        capture_output=True,
        text=True,
        check=True,
    )
    path.chmod(0o755)
    assert done.stdout.startswith("unwritable: The ledger ")
    assert f"{path} is read-only" in done.stdout


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_text("name,value\n" * 1000)
    error = _refused(f"sqlite:///{tmp_path / 'ledger.db'}")
    assert isinstance(error, Misconfigured)
    assert "not a database" in str(error)


def test_a_damaged_file(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    with SqlLedger.open(f"sqlite:///{file}", clock=ticking()) as ledger:
        fill(ledger, 200)
    size = file.stat().st_size
    with file.open("r+b") as stream:
        stream.seek(size // 3)
        stream.write(b"\xff" * (size // 3))
    with SqlLedger.open(f"sqlite:///{file}", clock=ticking()) as ledger, pytest.raises(IntegrityError) as caught:
        ledger.verify()
    assert caught.value.gate == "integrity.ledger"


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    with SqlLedger.open(f"sqlite:///{tmp_path / 'ledger.db'}", clock=ticking()) as ledger:
        fill(ledger, 3)
        with ledger._database.reading() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()

        def fill_up(connection: sqlite3.Connection, *_: object) -> None:
            connection.execute(f"PRAGMA max_page_count = {pages}")

        event.listen(ledger._database.engine, "checkout", fill_up)
        with pytest.raises(Unwritable, match=r"cannot be written: database or disk is full.*Free space"):
            ledger.append(decision("large", body={"x": "y" * 100_000}), actor="ada")
        assert (ledger.verify().records, ledger.verify().whole) == (3, True)


# --- PostgreSQL -------------------------------------------------------------------------------------------------------


def test_a_server_that_is_not_there_may_be_there_later() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: refused
        error = _refused(f"postgresql://ada:secret@127.0.0.1:{taken.getsockname()[1]}/towpath")
    assert isinstance(error, Unreachable)
    assert error.temporary
    assert "ada:***@127.0.0.1" in str(error)


def test_a_server_that_says_nothing_is_given_up(postgres_url: str) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        error = _refused(f"postgresql://ada:secret@127.0.0.1:{silent.getsockname()[1]}/towpath?connect_timeout=2")
    assert isinstance(error, Unreachable)


def test_a_name_that_does_not_resolve() -> None:
    assert isinstance(_refused("postgresql://ada:secret@no-such-host.invalid/towpath"), Unreachable)


def test_a_wrong_password_or_database_is_misconfigured(postgres_url: str) -> None:
    for url in (
        postgres_url.replace(PASSWORD, "secret"),
        postgres_url.replace(f":{PASSWORD}", ""),
        postgres_url.replace("towpath:", "nobody:"),
        postgres_url + "_absent",
        postgres_url + "?sslmode=require",
    ):
        error = _refused(url)
        assert isinstance(error, Misconfigured), url
        assert not error.temporary
        assert "Correct user, password, database name or rights." in str(error)


def test_a_user_without_rights_and_one_without_connections(postgres_database: str) -> None:
    user = "guest_" + postgres_database[-8:]
    with psycopg.connect(postgres_database, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {user} LOGIN PASSWORD 'secret'".encode())
        url = postgres_database.replace(f"towpath:{PASSWORD}", f"{user}:secret")
        rights = _refused(url)
        connection.execute(f"ALTER ROLE {user} CONNECTION LIMIT 0".encode())
        connections = _refused(url)
        connection.execute(f"DROP ROLE {user}".encode())
    assert isinstance(rights, Misconfigured)
    assert "permission denied" in str(rights)
    assert isinstance(connections, Unreachable)


def test_a_read_only_database_is_unwritable(postgres_database: str) -> None:
    with SqlLedger.open(postgres_database, clock=ticking()) as ledger:
        fill(ledger, 2)
    read_only = _set(postgres_database, "default_transaction_read_only = on")
    with read_only, SqlLedger.open(postgres_database, clock=ticking()) as ledger:
        assert ledger.verify().records == 2
        with pytest.raises(Unwritable, match="read-only transaction"):
            ledger.append(decision("k"), actor="ada")


def test_an_encoding_that_cannot_hold_every_text(postgres_url: str, postgres_database: str) -> None:
    name = "latin_" + postgres_database[-8:]
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} ENCODING 'LATIN1' TEMPLATE template0".encode())
        error = _refused(postgres_url.removesuffix("postgres") + name)
        connection.execute(f"DROP DATABASE {name}".encode())
    assert isinstance(error, Misconfigured)
    assert error.valid == ("UTF8",)


def test_a_connection_that_breaks_in_the_middle(postgres_database: str) -> None:
    broken = iter([True])

    def clock() -> datetime:
        if next(broken, False):
            _break(postgres_database)
        return START

    with SqlLedger.open(postgres_database, clock=clock) as ledger:
        with pytest.raises(Unreachable):
            ledger.append(decision("k"), actor="ada")
        assert ledger.append(decision("k"), actor="ada").sequence == 1


def test_a_connection_that_broke_while_idle_is_not_noticed(postgres_database: str) -> None:
    with SqlLedger.open(postgres_database, clock=ticking()) as ledger:
        fill(ledger, 1)
        _break(postgres_database)
        assert ledger.append(decision("k"), actor="ada").sequence == 2


# --- both -------------------------------------------------------------------------------------------------------------


def test_a_writer_that_does_not_end_is_waited_for_and_then_reported(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("towpath.ledger.engine._WAIT_SECONDS", 1)
    with SqlLedger.open(url, clock=ticking()) as ledger, SqlLedger.open(url, clock=ticking()) as other:
        with other._database.writing(), pytest.raises(Unreachable, match=r"does not answer: .*lock"):
            ledger.append(decision("k"), actor="ada")
        assert ledger.append(decision("k"), actor="ada").sequence == 1


def test_no_statement_shows_a_body_in_an_error(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with SqlLedger.open(url, clock=ticking()) as ledger:
        fill(ledger, 1)
        head = ledger.head()
        assert head is not None
        monkeypatch.setattr("towpath.ledger.chain.seal", lambda *_, **__: head)
        with pytest.raises(IntegrityError, match="behind the last one") as caught:
            ledger.append(decision("k"), actor="ada")
    assert "Zürich" not in str(caught.value) + str(caught.value.__cause__)


def _break(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


@contextmanager
def _set(url: str, setting: str) -> Iterator[None]:
    name = url.rpartition("/")[2]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} SET {setting}".encode())
        yield
        connection.execute(f"ALTER DATABASE {name} RESET ALL".encode())
