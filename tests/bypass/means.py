"""What an attacker has in hand: rows of the ledger's database, files, keys of their own, and the API."""

from __future__ import annotations

import base64
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bypass.databases import Database
from bypass.scene import PROJECT, Scene
from towpath import wiring
from towpath.adapters.keys_local import LocalKeys
from towpath.core import digest as digests
from towpath.core.evidence import Candidate, Record, RecordKind
from towpath.core.gates import Stage
from towpath.core.identity import Identity
from towpath.core.policy import Decision, Verdict
from towpath.core.rollout import Rollout
from towpath.ledger import chain
from towpath.ledger.canonical import canonical, parse
from towpath.ledger.chain import FIELDS, Stored
from towpath.ledger.signing import payload
from towpath.ports import Draft, Purpose
from towpath.stages.approve import Act, word
from towpath.stages.succession import crown
from towpath.stages.verdict import gathered, governance
from towpath.stages.work import champion


def rows(connection: Database) -> list[Stored]:
    """Every record as it lies."""
    found = connection.execute(f"select {', '.join(FIELDS)} from towpath_records order by sequence")
    return [Stored(**dict(zip(FIELDS, row, strict=True))) for row in found]


def insert(connection: Database, row: Stored) -> None:
    names = ", ".join(FIELDS)
    connection.execute(
        f"insert into towpath_records ({names}) values ({', '.join('?' * len(FIELDS))})",
        [getattr(row, name) for name in FIELDS],
    )


def rewrite(connection: Database, found: list[Stored]) -> None:
    """The whole table anew."""
    connection.execute("delete from towpath_records")
    for row in found:
        insert(connection, row)


def sealed(
    draft: Draft,
    last: Stored | None,
    *,
    actor: str,
    via: str | None,
    at: datetime | None = None,
    keys: LocalKeys | None = None,
) -> Stored:
    """The row that a draft becomes behind the last one: unsigned, or signed with keys of the attacker's own."""
    record = chain.seal(
        draft,
        previous=last.hash if last is not None else None,
        sequence=last.sequence + 1 if last is not None else 1,
        at=at or wiring.now(),
        actor=actor,
        via=via,
        signer=keys.key_id(Purpose.LEDGER) if keys is not None else None,
    )
    if keys is not None:
        _, signature = keys.sign(Purpose.LEDGER, payload(actor, record.hash, via))
        record = record.model_copy(update={"signature": base64.b64encode(signature).decode()})
    return chain.store(record)


def resealed(
    found: list[Stored],
    *,
    keys: LocalKeys | None = None,
    moved: Callable[[datetime], datetime] = lambda at: at,
    changed: Callable[[Stored], Mapping[str, Any]] = lambda _: {},
) -> list[Stored]:
    """The whole chain written anew, every hash recomputed: unsigned, or signed with keys of the attacker's own."""
    made: list[Stored] = []
    for row in found:
        value = {**{name: getattr(row, name) for name in FIELDS}, **changed(row)}
        draft = Draft(
            kind=RecordKind(value["kind"]),
            project=value["project"],
            candidate=value["candidate"],
            stage=value["stage"],
            key=value["key"],
            digest=value["digest"],
            body=parse(value["body"]),
        )
        at = moved(datetime.fromisoformat(value["at"]))
        made.append(sealed(draft, made[-1] if made else None, actor=value["actor"], via=value["via"], at=at, keys=keys))
    return made


def agreement(scene: Scene, candidate: Candidate, identity: Identity, **changes: Any) -> Draft:
    """An approval's record in somebody's name, whether or not they gave it."""
    with scene.ledger() as ledger:
        given = {"act": Act.APPROVE, "reason": "read its card", "expires": wiring.now() + timedelta(days=7), **changes}
        return word(candidate, identity, ledger, **given)


def coronation(scene: Scene, candidate: Candidate) -> Draft:
    """The decision that makes a candidate champion, as a promotion writes it, without one having been taken."""
    with scene.ledger() as ledger:
        case = gathered(ledger, candidate, now=wiring.now())
        decision = Decision(
            verdict=Verdict.PROMOTE, candidate=candidate.id, digest=candidate.digest, reasons=("it is good",)
        )
        return crown(decision, candidate, champion(ledger, PROJECT), reason="it is ready", governance=governance(case))


def edit(connection: Database, row: Stored, **body: Any) -> None:
    """Change a record's body in place, with digest and hash that fit again; the signature stays."""
    value = {**parse(row.body), **body}
    changed = replace(row, body=canonical(value), digest=digests.of_json(value))
    changed = replace(changed, hash=digests.of_json(content(changed)))
    connection.execute(
        "update towpath_records set body = ?, digest = ?, hash = ? where sequence = ?",
        (changed.body, changed.digest, changed.hash, row.sequence),
    )


def content(row: Stored) -> dict[str, Any]:
    """What a row's hash covers."""
    found = {name: getattr(row, name) for name in FIELDS if name not in ("hash", "signature")}
    found = {name: value for name, value in found.items() if value is not None or name in ("previous", "key")}
    return {**found, "body": parse(row.body)}


def put_rollout(connection: Database, rollout: Rollout, *, lease: datetime) -> None:
    """A rollout's row, as the table takes it."""
    body = rollout.model_dump(mode="json", exclude={"lease_until"})
    connection.execute(
        "insert into towpath_rollouts (rollout_id, project, generation, is_open, started_at, lease, body)"
        " values (?, ?, ?, 1, ?, ?, ?)",
        (
            rollout.rollout_id,
            rollout.project,
            rollout.generation,
            rollout.started_at.isoformat(),
            lease.isoformat(),
            canonical(body),
        ),
    )


def edit_rollout(connection: Database, *, lease: datetime | None = None, **changes: Any) -> None:
    """Change what a rollout's row says."""
    ((text,),) = connection.execute("select body from towpath_rollouts where is_open = 1").fetchall()
    connection.execute(
        "update towpath_rollouts set body = ? where is_open = 1", (canonical({**parse(text), **changes}),)
    )
    if lease is not None:
        connection.execute("update towpath_rollouts set lease = ? where is_open = 1", (lease.isoformat(),))


def own_keys(folder: Path) -> LocalKeys:
    """Keys that the attacker made; nobody trusts them."""
    keys = LocalKeys(folder)
    keys.ensure(at=wiring.now())
    return keys


def swap(file: Path, content: bytes) -> None:
    """Other bytes in the same place."""
    file.chmod(0o644)
    file.write_bytes(content)


def stored_object(scene: Scene, digest: str) -> Path:
    name = digest.removeprefix("sha256:")
    return scene.state / "objects" / name[:2] / name[2:]


def compiled(candidate: Candidate) -> str:
    """Digest of the candidate's compiled model."""
    return next(iter(candidate.entry(Stage.REGISTER).subjects_of("runtime").values())).digest


def saved_model(scene: Scene, candidate: Candidate) -> Path:
    """Where MLflow keeps the candidate's model."""
    model_id = str(candidate.entry(Stage.TRAIN).notes["model_id"])
    (folder,) = [found for found in (scene.state / "artifacts").rglob(model_id) if found.is_dir()]
    return folder / "artifacts" if (folder / "artifacts").is_dir() else folder


@contextmanager
def later(monkeypatch: pytest.MonkeyPatch, **by: float) -> Iterator[None]:
    """Every clock of this process goes that much ahead; with a negative number, after."""
    real, shift = wiring.now, timedelta(**by)
    with monkeypatch.context() as patch:
        patch.setattr(wiring, "now", lambda: real() + shift)
        yield


def kinds(records: list[Record]) -> list[str]:
    return [record.kind.value for record in records]


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What the API answered."""

    status: int
    headers: Mapping[str, str]
    json: Any


@dataclass(kw_only=True)
class Api:
    """The REST API over a scene, in a process of its own."""

    scene: Scene
    port: int

    def post(self, path: str, body: Any, *, token: str | None, **headers: str) -> Reply:
        sent = {"content-type": "application/json", **{name.replace("_", "-"): text for name, text in headers.items()}}
        if token is not None:
            sent["authorization"] = f"Bearer {self.scene.tokens.get(token, token)}"
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request("POST", path, body=json.dumps(body).encode(), headers=sent)
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(status=answer.status, headers=found, json=json.loads(answer.read() or b"null"))


@contextmanager
def api(scene: Scene, **more: str) -> Iterator[Api]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TOWPATH_")}
    environment |= {"TOWPATH_STATE": str(scene.state), "TOWPATH_ACTOR": "api", **scene.environment, **more}
    log = scene.state / "api.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "towpath.console", json.dumps({"rate": 1000.0, "unknown_burst": 1000})],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stream,
            env=environment,
        )
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            said = json.loads(process.stdout.readline() or "{}")
            assert "port" in said, (said, log.read_text())
            yield Api(scene=scene, port=said["port"])
        finally:
            process.terminate()
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdin.close()
            process.stdout.close()


def softened(project: Path, target: Path, old: str, new: str) -> Path:
    """The project's folder again, with one passage of its charter changed."""
    shutil.copytree(project, target)
    file = target / "charter.yaml"
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
    return target


def drafted(draft: Draft, body: Mapping[str, Any], **changes: Any) -> Draft:
    """The draft with another body."""
    return replace(draft, body=body, digest=digests.of_json(dict(body)), **changes)


def hashed(secret: str) -> str:
    return digests.of_bytes(secret.encode()).removeprefix("sha256:")


def repeated(record: Record, *, key: str | None) -> Draft:
    """What a record says, once more."""
    return Draft(
        kind=record.kind,
        project=record.project,
        candidate=record.candidate,
        stage=record.stage,
        key=key,
        digest=record.digest,
        body=record.body,
    )


@contextmanager
def mlflow_server(scene: Scene) -> Iterator[Callable[[str, Mapping[str, Any]], None]]:
    """MLflow's own server over the scene's registry; gives what sends it a request of its REST API."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    given = ("--backend-store-uri", scene.settings.mlflow, "--host", "127.0.0.1", "--port", str(port), "--workers", "1")
    log = scene.state / "mlflow.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *given], stdout=stream, stderr=stream, start_new_session=True
        )

        def ask(path: str, body: Mapping[str, Any]) -> None:
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
                sent = {"content-type": "application/json"}
                connection.request("POST", f"/api/2.0/mlflow/{path}", body=json.dumps(body).encode(), headers=sent)
                answer = connection.getresponse()
                assert answer.status == 200, answer.read()

        try:
            deadline = time.monotonic() + 120
            while not _listens(port):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.1)
            yield ask
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _listens(port: int) -> bool:
    try:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
    except OSError:
        return False
