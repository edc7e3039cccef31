"""Whether a candidate that a gate refused may go on, because somebody answers for what refused it."""

from __future__ import annotations

from towpath.core.errors import IntegrityError
from towpath.core.evidence import Candidate, Outcome, Record, RecordKind
from towpath.core.policy import Waiver
from towpath.core.waivers import covered, in_force
from towpath.ports import Ledger


def goes_on(candidate: Candidate, ledger: Ledger) -> bool:
    """Whether the next stage may be entered: everything passed, or a waiver covers each finding that did not."""
    return candidate.outcome is Outcome.PASS or covered(candidate, waived(candidate, ledger))


def waived(candidate: Candidate, ledger: Ledger) -> tuple[Waiver, ...]:
    """The waivers in force, as of the ledger's last record: the path itself reads no clock.

    One that has expired since lets the path go on, and nothing else: the decision looks at the clock.
    """
    records = list(ledger.records(project=candidate.project, kind=RecordKind.WAIVER))
    head = ledger.head()
    if head is None or not records:
        return ()
    return in_force(candidate, entries=entries_of(ledger, candidate), waivers=records, now=head.at)


def entries_of(ledger: Ledger, candidate: Candidate) -> tuple[Record, ...]:
    """The records of a candidate's chain. Raises `IntegrityError` when one is not there."""
    found = []
    for entry in candidate.entries:
        record = ledger.find(entry.key)
        if record is None or record.digest != entry.digest:
            raise IntegrityError(
                f"The ledger has no record of entry {entry.stage} of {candidate.id}.",
                gate="integrity.ledger",
                value=entry.digest,
            )
        found.append(record)
    return tuple(found)
