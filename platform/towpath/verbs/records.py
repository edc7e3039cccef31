"""The record itself: its rows, whether it is whole, and every page of it the same while it grows."""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import Any, Final

from pydantic import Field

from towpath.core.access import Action
from towpath.core.errors import BadInput, NotFound
from towpath.core.evidence import Record, RecordKind
from towpath.core.identity import EVERY_PROJECT
from towpath.core.tampering import Tampering
from towpath.ports import Fault, Verification
from towpath.verbs import pages
from towpath.verbs.desk import Desk
from towpath.verbs.verb import Document, Page, Request, Verb

_MOST: Final = 500


class ListRecords(Page):
    """Records in their order. Without a project it takes a grant for every one.

    `last`: the last so many instead, in one page.
    """

    project: str | None = Field(default=None, max_length=200)
    candidate: str | None = Field(default=None, max_length=200, description="What is written of one candidate.")
    kind: RecordKind | None = None
    last: int | None = Field(default=None, ge=1, description="At most 500 of a server.")


class Records(Document):
    """A page of records. `total`: how many there are, where only the last were asked for."""

    records: list[Record]
    next: str | None
    total: int | None = None


class AskRecord(Request):
    """One record by its number."""

    sequence: int = Field(ge=1, le=2**63 - 1)


class OneRecord(Document):
    """It, in full."""

    record: Record


class VerifyLedger(Request):
    """Of the whole record."""


class FaultFound(Document):
    """A record that is not as it was written."""

    record: int
    what: str
    kind: str | None


class Verified(Document):
    """Whether every record is as it was written. `verdict`: the first bad one, and what was done to it."""

    whole: bool
    records: int
    signed: int
    head: str | None
    verdict: FaultFound | None
    faults: list[FaultFound]


def list_records(asked: ListRecords, desk: Desk) -> Records:
    """As the record was when the first page was asked for."""
    if asked.last is not None:
        if asked.cursor is not None:
            raise BadInput("The last records are one page.", hint="Ask for `last`, or go by `cursor`.")
        if desk.served and asked.last > _MOST:
            raise BadInput(f"A server gives the last {_MOST} at most.", value=asked.last, valid=[f"1 to {_MOST}"])
        found = list(_matching(asked, desk, after=0))
        return Records(records=list(deque(found, maxlen=asked.last)), next=None, total=len(found))
    of = pages.listing("records", asked.model_dump(include={"project", "candidate", "kind"}))
    cursor = pages.read(asked.cursor, of) if asked.cursor is not None else _beginning(desk, of)
    rest = (one for one in _matching(asked, desk, after=cursor.at) if one.sequence <= cursor.until)
    page = list(islice(rest, asked.limit + 1))
    shown = page[: asked.limit]
    more = pages.Cursor(at=shown[-1].sequence, until=cursor.until, of=of).text if len(page) > asked.limit else None
    return Records(records=shown, next=more)


def ask_record(asked: AskRecord, desk: Desk) -> OneRecord:
    """Raises `NotFound`."""
    return OneRecord(record=_one(asked, desk))


def verify_ledger(_: VerifyLedger, desk: Desk) -> Verified:
    """Recomputes every hash, the chain and the signatures."""
    return verified(desk.ledger.verify())


def verified(found: Verification) -> Verified:
    """A verification as a document."""

    def fault(one: Fault) -> FaultFound:
        return FaultFound(record=one.sequence, what=one.what, kind=one.kind.value if one.kind is not None else None)

    return Verified(
        whole=found.whole,
        records=found.records,
        head=found.head,
        signed=found.signed,
        faults=[fault(one) for one in found.faults],
        verdict=fault(found.verdict) if found.verdict is not None else None,
    )


def verification(said: Verified) -> Verification:
    """What a document says of a verification."""

    def fault(one: FaultFound) -> Fault:
        return Fault(sequence=one.record, what=one.what, kind=Tampering(one.kind) if one.kind is not None else None)

    return Verification(
        records=said.records,
        head=said.head,
        faults=tuple(fault(one) for one in said.faults),
        verdict=fault(said.verdict) if said.verdict is not None else None,
        signed=said.signed,
    )


def _beginning(desk: Desk, of: str) -> pages.Cursor:
    head = desk.ledger.head()
    return pages.Cursor(at=0, until=head.sequence if head is not None else 0, of=of)


def _matching(asked: ListRecords, desk: Desk, *, after: int) -> Any:
    wanted = _written_of(asked.candidate, desk) if asked.candidate is not None else None
    for record in desk.ledger.records(project=asked.project, kind=asked.kind, after=after):
        if wanted is None or record.digest in wanted or record.body.get("digest") in wanted:
            yield record


def _written_of(named: str, desk: Desk) -> set[str]:
    """The digests of the entries of a candidate that has some, else of what incidents and decisions call by that id."""
    try:
        return {entry.digest for entry in desk.candidate(named).entries}
    except NotFound:
        by_name = {one.digest for one in desk.ledger.records(candidate=named) if desk.reads(one.project)}
        if not by_name:
            raise
        return by_name


def _one(asked: AskRecord, desk: Desk) -> Record:
    found = next(iter(desk.ledger.records(after=asked.sequence - 1)), None)
    if found is None or found.sequence != asked.sequence:
        raise NotFound(
            f"The ledger has no record {asked.sequence}.",
            value=asked.sequence,
            hint="`towpath ledger show` lists the last.",
        )
    return found


def _of_records(asked: ListRecords, desk: Desk) -> str:
    if asked.project is not None or asked.candidate is None:
        return asked.project or EVERY_PROJECT
    try:
        return desk.candidate(asked.candidate).project
    except NotFound:
        return EVERY_PROJECT


def _of_record(asked: AskRecord, desk: Desk) -> str:
    return _one(asked, desk).project


LEDGER_RECORDS: Final = Verb(
    name="ledger-records",
    about="List the record, a page at a time.",
    action=Action.READ,
    request=ListRecords,
    answer=Records,
    perform=list_records,
    project=_of_records,
    path="/v1/ledger/records",
    changes=False,
)
LEDGER_RECORD: Final = Verb(
    name="ledger-record",
    about="One record of the ledger.",
    action=Action.READ,
    request=AskRecord,
    answer=OneRecord,
    perform=ask_record,
    project=_of_record,
    path="/v1/ledger/records/{sequence}",
    changes=False,
)
LEDGER_VERIFY: Final = Verb(
    name="ledger-verify",
    about="Recompute every hash of the ledger, its chain and its signatures.",
    action=Action.READ,
    request=VerifyLedger,
    answer=Verified,
    perform=verify_ledger,
    path="/v1/ledger/verify",
    changes=False,
)
VERBS: Final = (
    LEDGER_RECORDS,
    LEDGER_RECORD,
    LEDGER_VERIFY,
)
