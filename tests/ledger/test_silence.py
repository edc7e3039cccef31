"""A network that swallows what it is given: both ends stay connected, and neither hears from the other."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from gateway.relay import Relay, relayed
from ledger.drafts import decision, fill, ticking
from towpath.core.errors import Unreachable
from towpath.ledger import engine, patience
from towpath.ledger.sql import SqlLedger


@pytest.fixture
def relay(postgres_database: str) -> Iterator[Relay]:
    port = urlsplit(postgres_database).port
    assert port is not None
    with relayed(port) as found:
        yield found


@pytest.fixture
def through(postgres_database: str, relay: Relay) -> str:
    """The database's URL through the relay. A new connection is given up soon, too."""
    return postgres_database.replace(f":{urlsplit(postgres_database).port}/", f":{relay.port}/") + "?connect_timeout=2"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "ANSWER_SECONDS", 1.0)


def _options(ledger: SqlLedger) -> dict[str, int]:
    """What the kernel was told about a connection."""
    with ledger._database.reading() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        with socket.socket(fileno=os.dup(driver.fileno())) as found:
            names = ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT")
            known = {name: found.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in names}
            return {**known, "SO_KEEPALIVE": found.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)}


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Linux has it")
def test_the_kernel_asks_a_silent_peer_unless_the_url_says_otherwise(postgres_database: str) -> None:
    usual = {
        "SO_KEEPALIVE": 1,
        "TCP_KEEPIDLE": 10,
        "TCP_KEEPINTVL": 3,
        "TCP_KEEPCNT": 3,
        "TCP_USER_TIMEOUT": 10_000,
    }
    with SqlLedger.open(postgres_database, clock=ticking()) as ledger:
        assert _options(ledger) == usual
    with SqlLedger.open(postgres_database + "?keepalives_idle=60&tcp_user_timeout=0", clock=ticking()) as ledger:
        assert _options(ledger) == {**usual, "TCP_KEEPIDLE": 60, "TCP_USER_TIMEOUT": 0}


def test_a_lock_is_waited_for_longer_by_us_than_by_the_server() -> None:
    assert patience.ANSWER_SECONDS > engine._WAIT_SECONDS


@pytest.mark.slow
@pytest.mark.usefixtures("impatient")
def test_reading_and_writing_give_up_and_go_on_when_the_network_is_back(through: str, relay: Relay) -> None:
    with SqlLedger.open(through, clock=ticking()) as ledger:
        fill(ledger, 3)
        for what in (ledger.head, ledger.verify, lambda: ledger.append(decision("k"), actor="ada")):
            relay.stall()
            with pytest.raises(Unreachable) as caught:
                what()
            assert caught.value.temporary
            relay.flow()
            what()
        assert (ledger.verify().records, ledger.verify().whole) == (4, True)


@pytest.mark.usefixtures("impatient")
def test_a_server_that_takes_its_time_but_is_within_the_bound_is_heard(postgres_database: str) -> None:
    with (
        SqlLedger.open(postgres_database, clock=ticking()) as ledger,
        ledger._database.reading() as connection,
    ):
        assert connection.exec_driver_sql("SELECT 7 FROM pg_sleep(0.4)").scalar_one() == 7
        assert connection.exec_driver_sql("SELECT 8 FROM pg_sleep(0.7)").scalar_one() == 8


@pytest.mark.usefixtures("impatient")
def test_a_writer_gone_silent_gives_its_lock_to_the_next(
    through: str, postgres_database: str, relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its server's process would hold the lock until that notices, which takes two hours by default."""
    monkeypatch.setattr(engine, "_SILENT_SECONDS", 4)
    monkeypatch.setattr(patience, "ANSWER_SECONDS", 60.0)  # the one that waits for the lock is not silent
    with (
        SqlLedger.open(through, clock=ticking()) as silent,
        SqlLedger.open(postgres_database, clock=ticking()) as next_one,
        ThreadPoolExecutor(max_workers=1) as pool,
    ):
        with pytest.raises(Unreachable), silent._database.writing() as connection:  # noqa: PT012
            relay.stall()
            waiting = pool.submit(next_one.append, decision("k"), actor="ada")
            assert waiting.result(timeout=70).sequence == 1
            relay.flow()
            connection.exec_driver_sql("SELECT 1")
        assert silent.append(decision("l"), actor="ada").sequence == 2
