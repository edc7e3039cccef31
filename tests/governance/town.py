"""A ledger with candidates, the people around them, and a clock that a test sets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from rollout import house
from rollout.house import NOW, PROJECT, Registry, Told
from towpath.core.charter import Charter
from towpath.core.evidence import Candidate, Finding
from towpath.core.identity import EVERY_PROJECT, Identity, Kind, Proof, Role
from towpath.core.policy import Decision
from towpath.ledger.rollouts import SqlRollouts
from towpath.ledger.sql import SqlLedger
from towpath.stages import approve as approvals
from towpath.stages.canary import CanaryPorts
from towpath.stages.promote import Promoting, promote

DAY = timedelta(days=1)


def somebody(
    person: str, *roles: Role, account: str = "", issued_by: str | None = "Katherine", proof: Proof = Proof.TOKEN
) -> Identity:
    """A person whom a token proves."""
    return Identity(
        person=person,
        account=account or person.lower(),
        kind=Kind.PERSON,
        proof=proof,
        credential="" if proof is Proof.CLAIMED else f"t-{account or person.lower()}",
        issued_by=issued_by,
        grants={EVERY_PROJECT: frozenset(roles)},
    )


ADA = somebody("Ada", Role.DATA_SCIENTIST)
GRACE = somebody("Grace", Role.RELEASE_MANAGER)
BARBARA = somebody("Barbara", Role.RELEASE_MANAGER)
KATHERINE = somebody("Katherine", Role.PLATFORM_ADMIN, issued_by=None)
EDITH = somebody("Edith", Role.PLATFORM_ADMIN)
ROBOT = Identity(
    person="controller",
    account="controller",
    kind=Kind.SERVICE,
    proof=Proof.TOKEN,
    credential="t-controller",
    issued_by="Katherine",
    grants={EVERY_PROJECT: frozenset({Role.AUTOMATION})},
)


def charter(risk: str = "medium", *, rollout: str = "", **changes: Any) -> Charter:
    """The small project's charter, of a risk; without a rollout unless it is given."""
    return house.declared(rollout=rollout, risk=risk, **changes)


@dataclass(kw_only=True)
class Town:
    """The project, as people find it at `now`."""

    ledger: SqlLedger
    rollouts: SqlRollouts
    folder: Path
    clock: list[datetime]
    models: Registry = field(default_factory=Registry)
    evidence: Told = field(default_factory=Told)

    @property
    def now(self) -> datetime:
        return self.clock[0]

    def passes(self, time: timedelta) -> None:
        self.clock[0] += time

    def candidate(
        self,
        number: int,
        declared: Charter | None = None,
        *,
        actor: str = "Ada",
        changed: Mapping[str, Finding] | None = None,
    ) -> Candidate:
        return house.registered(self.ledger, number, charter=declared or charter(), actor=actor, changed=changed)

    def approve(self, candidate: Candidate, who: Identity, **changes: Any) -> approvals.Approved:
        given = {"reason": "read its card", "now": self.now, **changes}
        return approvals.approve(candidate, who, self.ledger, **given)

    def withdraw(self, candidate: Candidate, who: Identity) -> approvals.Approved:
        return approvals.withdraw(candidate, who, self.ledger, reason="looked again", now=self.now)

    def place(self, who: Identity, declared: Charter | None = None) -> Promoting:
        """Where a promotion happens; `declared`: the charter as it is in the project's folder now."""
        return Promoting(
            project=PROJECT,
            ledger=self.ledger,
            models=self.models.open,
            actor=who.person,
            scratch=self.folder / "scratch",
            charter=house.charter_digest(declared) if declared is not None else None,
            rollout=False,
        )

    def promote(self, candidate: Candidate, who: Identity = GRACE, declared: Charter | None = None) -> Decision:
        return promote(candidate, self.place(who, declared), reason="it is ready", now=self.now)

    def ports(self, who: Identity = ROBOT) -> CanaryPorts:
        return CanaryPorts(ledger=self.ledger, rollouts=self.rollouts, evidence=self.evidence, actor=who.person)


@contextmanager
def opened(folder: Path, *, url: str | None = None) -> Iterator[Town]:
    url, clock = url or f"sqlite:///{folder / 'ledger.db'}", [NOW]
    with (
        SqlLedger.open(url, clock=lambda: clock[0]) as ledger,
        SqlRollouts.at(url, clock=lambda: clock[0]) as rollouts,
    ):
        yield Town(ledger=ledger, rollouts=rollouts, folder=folder, clock=clock)
