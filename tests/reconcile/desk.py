"""A reconciler with a clock of the test's, the MLflow that somebody moves things in, and an inbox of alerts."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from gateway.served import PROJECT, House
from towpath import wiring
from towpath.adapters.alerts_apprise import AppriseAlerts
from towpath.core.evidence import Incident, Record, RecordKind
from towpath.core.governance import Drifted
from towpath.project import load
from towpath.stages.reconcile import Reconciled, Reconciler
from towpath.stages.reconcile_ports import ReconcilePorts

MINUTE = timedelta(minutes=1)


@dataclass(kw_only=True)
class Inbox:
    """A webhook that keeps what it is told; `status` is what it answers."""

    address: str
    told: list[dict[str, Any]] = field(default_factory=list)
    status: int = 200


@contextmanager
def inbox() -> Iterator[Inbox]:
    """A real one, on a port of its own."""
    found = Inbox(address="")

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            found.told.append(json.loads(body))
            self.send_response(found.status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found.address = f"json://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield found
        finally:
            server.shutdown()
            thread.join()


@dataclass(kw_only=True)
class Desk:
    """The reconciler's time goes on by a minute with every look, so that no two looks are taken for one."""

    house: House
    ports: ReconcilePorts
    inbox: Inbox
    now: datetime
    policy: Drifted = Drifted.RESTORE
    reconciler: Reconciler | None = None

    @property
    def mlflow(self) -> Any:
        """The client of whoever moves things."""
        return self.ports.models().client  # type: ignore[attr-defined]

    def look(self, *, later: timedelta = MINUTE) -> Reconciled:
        self.now += later
        if self.reconciler is None:
            self.reconciler = Reconciler(self.ports, PROJECT, self.policy)
        return self.reconciler.look(self.now)

    def again(self, **changes: Any) -> None:
        """As another process would begin, with nothing remembered."""
        self.ports = replace(self.ports, **changes)
        self.reconciler = None

    def incidents(self) -> list[Record]:
        return list(self.house.ledger.records(project=PROJECT, kind=RecordKind.INCIDENT))


def codes(records: list[Record]) -> list[str]:
    """What each incident is about, and whether it has ended with it."""
    found = [Incident.model_validate(record.body).findings for record in records]
    return [f"{what.code} {done.outcome}" for what, done in found]


@contextmanager
def opened(house: House, **changes: Any) -> Iterator[Desk]:
    """Over a house's state; the ledger's clock is the real one, and the reconciler's begins behind it."""
    with inbox() as box:
        ports = wiring.open_reconcile(house.settings, load(house.project), actor="reconciler", via="test")
        ports = replace(ports, **{"alerts": AppriseAlerts([box.address]), "features": None, **changes})
        try:
            yield Desk(house=house, ports=ports, inbox=box, now=wiring.now())
        finally:
            ports.close()
