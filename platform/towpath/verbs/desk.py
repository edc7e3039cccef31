"""Where verbs are done: an installation's office, and in it a desk for each who asks something."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Final, Self

from towpath.core import digest as digests
from towpath.core.access import Action, permits
from towpath.core.errors import Forbidden, NotFound
from towpath.core.evidence import Candidate, Record, RecordKind
from towpath.core.identity import EVERY_PROJECT, Identity
from towpath.ports import IdentityProvider, Keys, Ledger, Rollouts, Tokens
from towpath.settings import Settings
from towpath.stages.work import candidate_of

if TYPE_CHECKING:
    from towpath.ledger.rollouts import SqlRollouts
    from towpath.ledger.sql import SqlLedger
    from towpath.project import Project
    from towpath.stages.canary import CanaryPorts
    from towpath.stages.promote import Promoting

_ID: Final = re.compile(r"(?P<project>[a-z][a-z0-9_-]*)-(?P<digits>[0-9a-f]{4,64})")
_DIGITS: Final = 4


@dataclass(frozen=True, kw_only=True)
class Office:
    """What an installation has, open for as long as the process or the command lives. Safe for threads.

    `served`: whoever asks is elsewhere, and reads nothing but what an answer says.
    """

    settings: Settings
    ledger: SqlLedger
    rollouts: SqlRollouts
    tokens: Tokens
    keys: Keys
    provider: IdentityProvider | None
    clock: Callable[[], datetime]
    served: bool

    @classmethod
    def open(cls, settings: Settings, *, served: bool) -> Self:
        """Of an installation; its ledger is created or upgraded when need be. Close it after use."""
        from towpath import wiring
        from towpath.ledger.rollouts import SqlRollouts
        from towpath.ledger.sql import SqlLedger

        ledger = wiring.open_ledger(settings)
        assert isinstance(ledger, SqlLedger)
        try:
            rollouts = wiring.open_rollouts(settings)
            assert isinstance(rollouts, SqlRollouts)
            return cls(
                settings=settings,
                ledger=ledger,
                rollouts=rollouts,
                tokens=wiring.open_tokens(settings),
                keys=wiring.open_keys(settings),
                provider=wiring.open_provider(settings),
                clock=wiring.now,
                served=served,
            )
        except BaseException:
            ledger.close()
            raise

    def close(self) -> None:
        """Give back every connection."""
        self.tokens.close()
        self.rollouts.close()
        self.ledger.close()

    def desk(self, identity: Identity, *, here: Project | None = None) -> Desk:
        """A desk for somebody. `here`: the model project whose folder the command was given."""
        return Desk(office=self, identity=identity, now=self.clock(), here=here)


@dataclass(frozen=True, kw_only=True)
class Desk:
    """Where one request of one person or program is done. Ledger and rollouts say how it is known who asks."""

    office: Office
    identity: Identity
    now: datetime
    here: Project | None = None
    _candidates: dict[str, Candidate] = field(default_factory=dict)

    @property
    def served(self) -> bool:
        return self.office.served

    @property
    def ledger(self) -> Ledger:
        return self.office.ledger.speaking(self.identity.via)

    @property
    def rollouts(self) -> Rollouts:
        return self.office.rollouts.speaking(self.identity.via)

    def reads(self, project: str) -> bool:
        """Whether who asks may read in that project."""
        return not self.served or permits(self.identity, Action.READ, project)

    def projects(self) -> list[str]:
        """The projects of which the ledger holds anything, and which may be read."""
        return sorted(name for name in self.every_project() if self.reads(name))

    def every_project(self) -> set[str]:
        """Those too that may not be read: for asking whether somebody may."""
        found = {record.project for record in self.ledger.records() if record.kind is not RecordKind.ACCESS}
        return found - {EVERY_PROJECT}

    def candidate(self, named: str) -> Candidate:
        """The candidate of that id, or of at least 4 digits of its digest. Raises `NotFound`.

        Digits that name one of a project that may not be read name none.
        """
        if named not in self._candidates:
            self._candidates[named] = self._found(named)
        return self._candidates[named]

    @contextmanager
    def canary(self) -> Iterator[CanaryPorts]:
        """The controller's ports, in the name of who asks."""
        from towpath import wiring
        from towpath.stages.canary import CanaryPorts

        ports = CanaryPorts(
            ledger=self.ledger,
            rollouts=self.rollouts,
            evidence=wiring.open_evidence(self.office.settings),
            actor=self.identity.person,
            keys=self.office.keys,
        )
        try:
            yield ports
        finally:
            ports.evidence.close()

    def promoting(self, project: str) -> Promoting:
        """What a promotion takes; with the charter as it is now where the project's folder is at hand."""
        from towpath import wiring
        from towpath.stages.promote import Promoting

        settings, here = self.office.settings, self.here
        return Promoting(
            project=project,
            ledger=self.ledger,
            models=lambda: wiring.open_models(settings),
            actor=self.identity.person,
            scratch=settings.state / "scratch",
            charter=here.charter_digest if here is not None else None,
            rollout=here.charter.rollout is not None if here is not None else None,
            keys=self.office.keys,
        )

    def _found(self, named: str) -> Candidate:
        match = _ID.fullmatch(named)
        entries = list(self.ledger.records(kind=RecordKind.ENTRY))
        if match is not None and match["project"] in {record.project for record in entries}:
            self._require_readable(match["project"])
            fits = [one for one in entries if one.project == match["project"] and _begins(one, match["digits"])]
        else:
            digits = named.removeprefix(digests.PREFIX)
            fits = [one for one in entries if _begins(one, digits) and self.reads(one.project)]
        if len(fits) != 1:
            raise NotFound(
                f"{named!r} names {'no' if not fits else 'more than one'} candidate.",
                value=named,
                valid=[record.candidate for record in fits],
                hint="`towpath status` lists them; give an id, or at least 4 digits of a digest.",
            )
        return candidate_of(self.ledger, fits[0].project, fits[0].digest)

    def _require_readable(self, project: str) -> None:
        """Raises `Forbidden` for the candidate of a project that may not be read, be it there or not."""
        if not self.reads(project):
            from towpath.stages.access import authorize

            authorize(self.identity, Action.READ, self.ledger, project=project, now=self.now)
            raise Forbidden(f"{self.identity.person} may not read in {project}.", value=project)


def _begins(record: Record, digits: str) -> bool:
    return len(digits) >= _DIGITS and record.digest.removeprefix(digests.PREFIX).startswith(digits)
