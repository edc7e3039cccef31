"""An installation as people run it, closed by tokens, and somebody in it who has a model of their own to get served.

Ada's model is the champion: Grace approved and promoted it. Mallory has two candidates that nobody agreed to: `mine`,
which needs one approval, and `rolling`, the same model under a charter with a rollout. Mallory is a data scientist and
a release manager too, so that what stops an attack is never a missing role alone.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from gateway import served
from gateway.served import PROJECT, ROLLOUT
from path import small
from towpath import wiring
from towpath.core.errors import Conflict, IntegrityError, TowpathError
from towpath.core.evidence import Candidate, Record, RecordKind
from towpath.core.grants import granted
from towpath.core.identity import Identity, Kind, claimed
from towpath.core.policy import Decision
from towpath.ledger.sql import SqlLedger
from towpath.ports import TokenGrant
from towpath.project import load
from towpath.settings import Settings
from towpath.stages.approve import Approved, approve, withdraw
from towpath.stages.promote import Promoting, promote
from towpath.stages.reconcile import Reconciled, Reconciler
from towpath.stages.serving import Head, Servable, servable
from towpath.stages.work import champion

PEOPLE: Mapping[str, tuple[str, Kind, tuple[str, ...]]] = {
    "katherine": ("katherine", Kind.PERSON, ("platform-admin",)),
    "ada": ("ada", Kind.PERSON, ("data-scientist",)),
    "mallory": ("mallory", Kind.PERSON, ("data-scientist", "release-manager")),
    "mallory-two": ("mallory", Kind.PERSON, ("release-manager",)),
    "grace": ("grace", Kind.PERSON, ("release-manager",)),
    "barbara": ("barbara", Kind.PERSON, ("release-manager",)),
    "edith": ("edith", Kind.PERSON, ("platform-admin",)),
    "audrey": ("audrey", Kind.PERSON, ("auditor",)),
    "robot": ("robot", Kind.SERVICE, ("automation",)),
}
"""By account: the person, whether it is one, and the roles."""
YEAR = timedelta(days=365)


@dataclass(frozen=True, kw_only=True)
class Built:
    """What was built once. `rolled`: the project's folder with the rollout in its charter."""

    project: Path
    rolled: Path
    state: Path
    champion: Candidate
    mine: Candidate
    rolling: Candidate
    tokens: Mapping[str, str]


def build(folder: Path) -> Built:
    """Go the path three times, in the names of who submits."""
    project, rolled, state = small.build(folder / PROJECT), folder / "rolled" / PROJECT, folder / "state"
    small.edit(project / "charter.yaml", "risk: low", "risk: medium")
    tokens = _tokens(small.settings(state))
    scene = Scene(project=project, state=state, built=None, tokens=tokens)
    first = scene.run("ada")
    scene.approve("grace", first)
    scene.promote("grace", first)
    small.edit(project / "charter.yaml", "max_iter: 30", "max_iter: 40")
    mine = scene.run("mallory")
    shutil.copytree(project, rolled)
    small.edit(rolled / "charter.yaml", "monitoring:", ROLLOUT)
    rolling = scene.run("mallory", rolled)
    return Built(project=project, rolled=rolled, state=state, champion=first, mine=mine, rolling=rolling, tokens=tokens)


def _tokens(settings: Settings) -> dict[str, str]:
    made: dict[str, str] = {}
    by = claimed("katherine")
    with closing(wiring.open_tokens(settings)) as opened:
        for account in PEOPLE:
            made[account] = opened.create(wanted(account), by=by)[1]
            by = opened.identify(made["katherine"])
    return made


def wanted(account: str, *, days: float = 365, **changes: Any) -> TokenGrant:
    """What a token of theirs says."""
    person, kind, roles = PEOPLE[account]
    given = {"person": person, "account": account, "kind": kind, "grants": granted(roles), **changes}
    return TokenGrant(expires_at=wiring.now() + timedelta(days=days), **given)


@dataclass(kw_only=True)
class Scene:
    """A copy of what was built, for one attack. Ledgers are opened anew each time, as every process does."""

    project: Path
    state: Path
    built: Any  # Built; None while it is made
    tokens: Mapping[str, str]
    environment: dict[str, str] = field(default_factory=dict)
    row: TowpathError | None = None
    """What was wrong with the row of the rollout, at the last look."""

    @property
    def settings(self) -> Settings:
        return small.settings(self.state, self.environment)

    @property
    def champion(self) -> Candidate:
        return self.built.champion  # type: ignore[no-any-return]

    @property
    def mine(self) -> Candidate:
        return self.built.mine  # type: ignore[no-any-return]

    @property
    def rolling(self) -> Candidate:
        return self.built.rolling  # type: ignore[no-any-return]

    def who(self, account: str) -> Identity:
        """As the token proves it."""
        with closing(wiring.open_tokens(self.settings)) as opened:
            return opened.identify(self.tokens[account])

    @contextmanager
    def ledger(self, identity: Identity | None = None) -> Iterator[SqlLedger]:
        opened = wiring.open_ledger(self.settings, via=identity.via if identity is not None else None)
        assert isinstance(opened, SqlLedger)
        with closing(opened):
            yield opened

    # --- what people do -----------------------------------------------------------------------------------------------

    def run(self, account: str, project: Path | None = None) -> Candidate:
        """Along the path, in somebody's name."""
        work = wiring.open_work(
            self.settings,
            load(project or self.project),
            as_of=small.AS_OF,
            progress=small.Heard(),
            identity=self.who(account),
        )
        try:
            return small.walk(work)
        finally:
            work.ports.ledger.close()  # type: ignore[attr-defined]

    def approve(self, account: str | Identity, candidate: Candidate | None = None, **changes: Any) -> Approved:
        identity = self.who(account) if isinstance(account, str) else account
        given = {"reason": "read its card", "now": wiring.now(), **changes}
        with self.ledger(identity) as ledger:
            return approve(candidate or self.mine, identity, ledger, **given)

    def withdraw(self, account: str, candidate: Candidate | None = None) -> Approved:
        identity = self.who(account)
        with self.ledger(identity) as ledger:
            return withdraw(candidate or self.mine, identity, ledger, reason="looked again", now=wiring.now())

    @contextmanager
    def promoting(self, account: str, project: Path | None = None) -> Iterator[Promoting]:
        """Where somebody promotes, as the command does with the project's folder at hand."""
        from towpath.verbs.desk import Office

        with closing(Office.open(self.settings, served=False)) as office:
            here = load(project) if project is not None else None
            yield office.desk(self.who(account), here=here).promoting(PROJECT)

    def promote(
        self, account: str = "mallory", candidate: Candidate | None = None, *, project: Path | None = None
    ) -> Decision:
        with self.promoting(account, project) as place:
            return promote(candidate or self.mine, place, reason="it is ready", now=wiring.now())

    # --- what becomes of it -------------------------------------------------------------------------------------------

    def servable(self) -> Servable:
        """What a gateway that starts now is given. As it does, it takes a row that is not what was written for none."""
        with self.ledger() as ledger, closing(wiring.open_rollouts(self.settings)) as rollouts:  # type: ignore[type-var]
            head = Head()
            try:
                return servable(ledger, rollouts.open(PROJECT), PROJECT, head=head)
            except (Conflict, IntegrityError) as error:
                self.row = error
                return servable(ledger, None, PROJECT, head=head)

    def reconcile(self) -> Reconciled:
        """One look of the reconciler that puts back; a second finds what it was waiting with."""
        project = load(self.project)
        ports = wiring.open_reconcile(self.settings, project, actor="reconciler", via="test")
        with closing(ports):
            reconciler = Reconciler(ports, PROJECT, project.charter.governance.reconcile)
            reconciler.look(wiring.now())
            return reconciler.look(wiring.now() + timedelta(minutes=1))

    def alias(self) -> str:
        """The version that MLflow shows as champion."""
        found = self.mlflow().get_model_version_by_alias(PROJECT, "champion")
        return str(found.version)

    def mlflow(self) -> Any:
        """MLflow's own client, as anybody uses it who knows the address."""
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=self.settings.mlflow, registry_uri=self.settings.mlflow)

    def records(self, kind: RecordKind | None = None) -> list[Record]:
        with self.ledger() as ledger:
            return list(ledger.records(kind=kind))

    def unmoved(self, *challengers: Candidate, mlflow: bool = False) -> Servable:
        """The end of every attack on a ledger that is whole: Ada's model is champion, and nobody else gets traffic.

        `challengers`: who may take part in a rollout, because the attack is about something else. `mlflow`: the
        reconciler has looked, and MLflow shows it too.
        """
        with self.ledger() as ledger:
            assert ledger.verify().whole
            current = champion(ledger, PROJECT)
        assert current is not None
        assert current.candidate.digest == self.champion.digest
        found = self.servable()
        assert found.champion is not None
        assert found.champion.digest == self.champion.digest
        allowed = {self.champion.digest, *(one.digest for one in challengers)}
        assert found.incumbent is None or found.incumbent.digest == self.champion.digest
        assert found.challenger is None or found.challenger.digest in allowed
        if mlflow:
            self.reconcile()
            assert self.alias() == str(self.champion.entry("register").notes["version"])
        return found


@contextmanager
def opened(built: Built, folder: Path) -> Iterator[Scene]:
    """A copy: the ledger, the stores, MLflow with its artifacts, and the project's folders."""
    state = folder / "state"
    shutil.copytree(built.state, state, ignore=shutil.ignore_patterns("features", "scratch"))
    _moved(state / "mlflow.db", str(built.state), str(state))
    project = Path(shutil.copytree(built.project, folder / PROJECT))
    yield Scene(project=project, state=state, built=built, tokens=built.tokens)


def _moved(database: Path, before: str, after: str) -> None:
    """MLflow's addresses of artifacts are absolute."""
    with closing(sqlite3.connect(database)) as connection, connection:
        tables = [name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")]
        for table in tables:
            for _, column, kind, *_ in connection.execute(f'pragma table_info("{table}")').fetchall():
                if "CHAR" in kind.upper() or "TEXT" in kind.upper():
                    connection.execute(
                        f'update "{table}" set "{column}" = replace("{column}", ?, ?) where "{column}" like ?',
                        (before, after, f"%{before}%"),
                    )


@contextmanager
def gateway(scene: Scene, *, wait: bool = True, more: Mapping[str, str] | None = None) -> Iterator[served.Served]:
    """A real gateway over the scene, in processes of its own."""
    house = served.House(
        built=scene.built,
        project=scene.built.rolled,  # its requests have the unit of a rollout
        state=scene.state,
        settings=scene.settings,
        ledger=None,  # type: ignore[arg-type]
        rollouts=None,  # type: ignore[arg-type]
    )
    given = {**scene.environment, **(more or {})}
    with served.serving(house, wait=wait, more=given, log=False) as running:
        yield running


@contextmanager
def environment(scene: Scene, **more: str | None) -> Iterator[None]:
    """The variables of a command that is run in this process: the scene's, and none of this machine's."""
    kept = {name: value for name, value in os.environ.items() if name.startswith(("TOWPATH_", "PREFECT_"))}
    for name in kept:
        del os.environ[name]
    given = {"TOWPATH_STATE": str(scene.state), "COLUMNS": "160", **scene.environment, **more}
    os.environ.update({name: value for name, value in given.items() if value is not None})
    try:
        yield
    finally:
        for name in [name for name in os.environ if name.startswith(("TOWPATH_", "PREFECT_"))]:
            del os.environ[name]
        os.environ.update(kept)
