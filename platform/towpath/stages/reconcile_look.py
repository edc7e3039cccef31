"""One look of the reconciler: part by part it compares, records, puts back, and tells."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from towpath.core.errors import TowpathError
from towpath.core.evidence import Record
from towpath.core.governance import Drifted
from towpath.core.reconciliation import Found, Wanted, compare, sees
from towpath.core.reconciliation_values import Drift
from towpath.stages.reconcile_ports import Alerts
from towpath.stages.reconcile_records import PUT_BACK, Identity, Noted, Pen
from towpath.stages.reconcile_restore import STRUCTURE

SETTLE: Final = timedelta(seconds=15)
"""How long what may be work under way must stand before it counts."""
_ROUNDS: Final = 4  # a model, its versions, their aliases and tags
_logger = logging.getLogger(__name__)

Mend = Callable[[Drift, Found], None]


@dataclass(frozen=True, kw_only=True)
class Treated:
    """A difference and what was done; `record` is None when it was recorded before, and nobody is told again."""

    drift: Drift
    done: str
    record: Record | None

    @property
    def restored(self) -> bool:
        return self.done == PUT_BACK


@dataclass(kw_only=True)
class Look:
    """What is known before, and what came of it. `doubtful`: when each doubtful difference was first seen."""

    pen: Pen
    before: dict[Identity, Noted]
    policy: Drifted
    alerts: Alerts
    doubtful: Mapping[Identity, datetime]
    treated: list[Treated] = field(default_factory=list)
    waiting: list[Drift] = field(default_factory=list)
    shown: list[Drift] = field(default_factory=list)
    ended: list[Drift] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)

    def part(self, name: str, work: Callable[[], None]) -> None:
        """Look at one service; one that cannot be seen hides no other."""
        try:
            work()
        except TowpathError as error:
            self._missed(name, error.message)
        except Exception as error:  # whatever a service's library raises, the others are looked at
            _logger.exception("project=%s %s", self.pen.project, name)
            self._missed(name, f"{type(error).__name__}: {error}")

    def judge(self, wanted: Wanted, find: Callable[[], Found], mend: Mend | None = None) -> None:
        """Everything about one part. `mend` puts one difference back, given what was found, and raises if it cannot."""
        found = find()
        drifts = compare(wanted, found)
        sure, late = self._weighed(drifts), [one for one in drifts if one.lagging]
        noted = [(one, *self._noted(one, mend)) for one in sure]
        back = [one for one, done, _ in noted if done == PUT_BACK]
        failures: dict[Identity, str] = {}
        if mend is not None and (back or late):
            found = self._mended([*late, *back], wanted, found, find, mend, failures)
        left = {one.identity for one in compare(wanted, found)}
        for one in back:
            if one.identity in left:
                failures.setdefault(one.identity, "it is as before")
        for one, done, record in noted:
            self._close(one, done, record, failures.get(one.identity))
        self.shown += [one for one in late if one.identity not in left]
        self._end(found, left)

    def _weighed(self, drifts: tuple[Drift, ...]) -> list[Drift]:
        """Those that count: what may be work under way waits, unless it stood long enough or was recorded before."""
        sure = []
        for one in drifts:
            if one.lagging:
                continue
            last = self.before.get(one.identity)
            first = self.doubtful.get(one.identity, self.pen.now)
            if not one.doubtful or self.pen.now - first >= SETTLE or (last is not None and not last.ended):
                sure.append(one)
            else:
                self.waiting.append(one)
        return sure

    def _noted(self, drift: Drift, mend: Mend | None) -> tuple[str, Record | None]:
        """Record it, with what will be done: first, for who is killed meanwhile leaves no change without a record."""
        if mend is None or not drift.restorable:
            done = "only told: it cannot be put back from here"
        elif self.policy is Drifted.FLAG:
            done = "only told: the charter says governance.reconcile: flag"
        else:
            done = PUT_BACK
        return done, self._written(drift, done)

    def _written(self, drift: Drift, done: str) -> Record | None:
        record = self.pen.note(drift, done, self.before)
        if record is not None:
            self.before[drift.identity] = Noted(record=record, drift=drift, ended=done == PUT_BACK)
        return record

    def _mended(
        self,
        first: list[Drift],
        wanted: Wanted,
        found: Found,
        find: Callable[[], Found],
        mend: Mend,
        failures: dict[Identity, str],
    ) -> Found:
        """Put back, and look again. What was lost with a deleted version comes back with it, as the same incident."""
        turn = first
        for _ in range(_ROUNDS):
            for one in turn:
                try:
                    mend(one, found)
                except TowpathError as error:
                    failures[one.identity] = error.message
            found = find()
            if failures or not any(one.code in STRUCTURE for one in first):
                break
            turn = [one for one in compare(wanted, found) if one.restorable and not one.doubtful]
            if not turn:
                break
        return found

    def _close(self, drift: Drift, done: str, record: Record | None, failure: str | None) -> None:
        """What came of it, in the record when it came otherwise, and to people when it is news."""
        if failure is not None:
            done = f"it could not be put back: {failure}"
            record = self._written(drift, done) or record
        self.treated.append(Treated(drift=drift, done=done, record=record))
        _logger.warning(
            "project=%s drift=%s %s: %s record=%s",
            self.pen.project,
            drift.code,
            drift.says,
            done,
            record.sequence if record else "as before",
        )
        if record is not None:
            self.alerts.tell(
                f"Towpath, {self.pen.project}: {drift.subject} was moved",
                f"{drift.subject}: from {drift.wanted} to {drift.found}.\nDone: {done}.\n"
                f"Who and when: {drift.known or 'unknown'}.\nRecord {record.sequence} of the ledger ({drift.code}).",
            )

    def _end(self, found: Found, left: set[Identity]) -> None:
        """Record the end of what stood in the ledger and is no more, where that can be seen."""
        for identity, standing in list(self.before.items()):
            drift = standing.drift
            if standing.ended or identity in left or not sees(found, drift.code, drift.subject):
                continue
            record = self.pen.end(standing, "it is as decided again")
            if record is not None:
                self.ended.append(drift)
                self.before[identity] = Noted(record=record, drift=drift, ended=True)

    def _missed(self, name: str, why: str) -> None:
        _logger.warning("project=%s %s cannot be looked at: %s", self.pen.project, name, why)
        self.unseen.append(f"{name}: {why}")
