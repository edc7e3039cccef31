"""What is moved by hand while a gateway serves: callers are answered as before, and it is put back within a minute."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway import served
from gateway.load import load
from gateway.served import PROJECT, Built, House
from path import small
from reconcile import desk
from reconcile.attacks import ATTACKS, shown
from reconcile.desk import Inbox, codes
from towpath import wiring
from towpath.cli import services
from towpath.core.evidence import Incident, Record, RecordKind
from towpath.core.reconciliation_models import VERSION

pytestmark = [pytest.mark.exhaustive, pytest.mark.slow]

WITHIN = 60.0  # seconds from the move to the record: what is promised, and what a test waits at most
START = 120.0


@contextmanager
def watching(house: House, inbox: Inbox, gateway: int, every: str) -> Iterator[Path]:
    """`towpath reconcile --watch` as people run it; its output."""
    written = house.state / "reconcile.log"
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("TOWPATH_", "PREFECT_"))}
    environment = {
        **clean,
        "TOWPATH_STATE": str(house.state),
        "TOWPATH_ACTOR": "watchman",
        "TOWPATH_ALERTS": inbox.address,
        "TOWPATH_GATEWAYS": f"http://127.0.0.1:{gateway}",
    }
    command = [sys.executable, "-m", "towpath.cli", "reconcile", str(house.project), "--watch", "--every", every]
    with written.open("wb") as stream:
        process = subprocess.Popen(command, env=environment, stdout=stream, stderr=stream)
    try:
        yield written
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=WITHIN) == 0, written.read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def incidents(house: House) -> list[Record]:
    return list(house.ledger.records(project=PROJECT, kind=RecordKind.INCIDENT))


def wait(what: Callable[[], bool], seconds: float, log: Path) -> float:
    begun = time.monotonic()
    while not what():
        assert time.monotonic() - begun < seconds, f"it did not happen:\n{log.read_text()[-3000:]}"
        time.sleep(0.1)
    return time.monotonic() - begun


@pytest.mark.parametrize(("every", "attacks"), [("20s", ["the alias is moved"]), ("2s", list(ATTACKS))])
@pytest.mark.timeout(900)
def test_callers_are_answered_as_before(built: Built, tmp_path: Path, every: str, attacks: list[str]) -> None:
    rows = served.rows(built, 20)
    with (
        served.house(built, tmp_path) as house,
        desk.inbox() as inbox,
        served.serving(house) as gateway,
        watching(house, inbox, gateway.port, every) as log,
    ):
        client = wiring.open_models(house.settings).client  # type: ignore[attr-defined]
        before, answers = shown(client, PROJECT), gateway.infer(rows).json["outputs"]
        wait(lambda: "Not looked at" in log.read_text(), START, log)  # the feature store, which is not here
        with load(gateway.port, rows, clients=2, pause=0.02) as asked:
            for done, (attack, code) in enumerate((ATTACKS[one] for one in attacks), start=1):
                attack(client, PROJECT)
                wait(lambda done=done: len(incidents(house)) == done, WITHIN, log)  # type: ignore[misc]
                wait(lambda: _shown(client) == before, WITHIN, log)
                assert codes(incidents(house))[-1] == f"{code} PASS"
                assert gateway.infer(rows).json["outputs"] == answers
        wait(lambda: len(inbox.told) == len(attacks), WITHIN, log)
        assert len(incidents(house)) == len(attacks)
        assert set(asked.statuses) == {200}
        assert (asked.broken, set(asked.arms()), {one.fallback for one in asked.outcomes}) == (0, {"champion"}, {""})
        assert {one.actor for one in incidents(house)} == {"watchman"}
        assert house.ledger.verify().whole


def _shown(client: Any) -> Any:
    """None while it is being put back."""
    from mlflow.exceptions import MlflowException

    try:
        return shown(client, PROJECT)
    except (MlflowException, KeyError):
        return None


@pytest.mark.timeout(600)
def test_the_same_on_a_server_of_mlflow_and_then_without_it(built: Built, tmp_path: Path) -> None:
    with served.house(built, tmp_path) as house:
        plan = [
            one for one in services.planned(house.settings, mlflow_port=_port(), prefect_port=1) if one.name == "mlflow"
        ]
        with services.started(plan, house.settings, echo=None) as standing:
            assert standing.wait_until_healthy()
            settings = small.settings(house.state, {"TOWPATH_MLFLOW": plan[0].url})
            with desk.opened(replace(house, settings=settings)) as at:
                before = shown(at.mlflow, PROJECT)
                assert (at.look().treated, at.look().unseen) == ((), ())
                for attack, _ in ATTACKS.values():
                    attack(at.mlflow, PROJECT)
                    at.look()
                    assert shown(at.mlflow, PROJECT) == before
                assert codes(at.incidents()) == [f"{code} PASS" for _, code in ATTACKS.values()]
                assert len(at.inbox.told) == len(ATTACKS)
                standing.close()
                found = at.look()
                assert (found.treated, [text.partition(":")[0] for text in found.unseen]) == ((), ["MLflow"])
                assert any(_about(record) == VERSION for record in at.incidents())


def _about(record: Record) -> str:
    return Incident.model_validate(record.body).findings[0].code


def _port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
