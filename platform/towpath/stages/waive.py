"""waive: a person answers for one finding of one candidate, until a time, and takes that back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from towpath.core import digest as digests
from towpath.core.access import Action, require
from towpath.core.errors import Denied, NotFound
from towpath.core.evidence import Candidate, Finding, Outcome, Record, RecordKind, Severity
from towpath.core.gates import GATES, gate
from towpath.core.identity import Identity
from towpath.core.signatory import Signatory, signed, submitters, unfit
from towpath.core.waivers import LONGEST, ROLES, Granted, WaiverAct, acts, granted, waiver_key
from towpath.ports import Draft, Ledger
from towpath.stages.verdict import again, head_of, reasoned
from towpath.stages.waived import entries_of

STAGE: Final = "waive"


def waive(
    candidate: Candidate,
    identity: Identity,
    ledger: Ledger,
    *,
    code: str,
    subject: str = "",
    reason: str,
    expires: timedelta,
    now: datetime,
) -> Record:
    """Answer for a finding of the candidate that did not pass; the path then goes on, and the finding stays.

    Raises `Forbidden` for a role that may not; `Denied` for a submitter, a claimed name, a gate that is never waived or
    a time that is too long; `NotFound` when the candidate has no such finding.
    """
    require(identity, Action.WAIVE, candidate.project)
    reasoned(reason, "A waiver")
    _require_waivable(code)
    _finding(candidate, code, subject)
    if not timedelta(0) < expires <= LONGEST:
        raise Denied(
            f"A waiver holds for at most {LONGEST.days} days, and for some time.",
            value=str(expires),
            valid=["7d", "90d"],
        )
    return again(lambda: _grant(candidate, identity, ledger, code, subject, reason, expires, now))


def withdraw(
    candidate: Candidate,
    identity: Identity,
    ledger: Ledger,
    *,
    code: str,
    subject: str = "",
    reason: str,
    now: datetime,
) -> Record:
    """End a waiver, whoever granted it. Raises `NotFound` when none is in force."""
    require(identity, Action.WAIVE, candidate.project)
    reasoned(reason, "A withdrawal")
    return again(lambda: _withdraw(candidate, identity, ledger, code, subject, reason, now))


def waivers_of(ledger: Ledger, candidate: Candidate, *, now: datetime) -> tuple[Granted, ...]:
    """Every waiver of the candidate, those that cover nothing with the reason."""
    return granted(candidate, entries=entries_of(ledger, candidate), waivers=_records(ledger, candidate), now=now)


def _grant(
    candidate: Candidate,
    identity: Identity,
    ledger: Ledger,
    code: str,
    subject: str,
    reason: str,
    expires: timedelta,
    now: datetime,
) -> Record:
    head, moment = head_of(ledger, now)
    who = Signatory.model_validate(signed(identity, candidate.project))
    if (why := unfit(who, identity.person, roles=ROLES, by=submitters(entries_of(ledger, candidate)))) is not None:
        raise Denied(
            f"{identity.person} cannot waive {code} of {candidate.id}: {why}.",
            value=identity.person,
            hint="It takes another person, who acts with a token or a login of their own: `towpath token create`.",
        )
    said = {"act": WaiverAct.GRANT.value, "code": code, "subject": subject, "reason": reason}
    return _write(candidate, who, ledger, {**said, "expires": (moment + expires).isoformat()}, behind=head.hash)


def _withdraw(
    candidate: Candidate, identity: Identity, ledger: Ledger, code: str, subject: str, reason: str, now: datetime
) -> Record:
    head, moment = head_of(ledger, now)
    found = [one for one in waivers_of(ledger, candidate, now=moment) if not one.why]
    if (code, subject) not in {(one.code, one.subject) for one in found}:
        raise NotFound(
            f"No waiver of {code}{f' ({subject})' if subject else ''} for {candidate.id} is in force.",
            value=code,
            valid=[f"{one.code}{f' ({one.subject})' if one.subject else ''}" for one in found],
        )
    who = Signatory.model_validate(signed(identity, candidate.project))
    if (why := unfit(who, identity.person, roles=ROLES, by=())) is not None:
        raise Denied(f"{identity.person} cannot withdraw a waiver: {why}.", value=identity.person)
    said = {"act": WaiverAct.WITHDRAW.value, "code": code, "subject": subject, "reason": reason}
    return _write(candidate, who, ledger, {**said, "expires": moment.isoformat()}, behind=head.hash)


def _require_waivable(code: str) -> None:
    if not gate(code).waivable:
        raise Denied(
            f"{code} is never waived: it says whose bytes these are, or that they answer as they should.",
            value=code,
            valid=[name for name, one in GATES.items() if one.waivable],
        )


def _finding(candidate: Candidate, code: str, subject: str) -> Finding:
    refused = [
        finding
        for finding in candidate.findings
        if finding.outcome is not Outcome.PASS and finding.severity is Severity.ERROR
    ]
    for finding in refused:
        if (finding.code, finding.subject) == (code, subject):
            return finding
    raise NotFound(
        f"{candidate.id} was not refused by {code}{f' ({subject})' if subject else ''}.",
        value=code,
        valid=[f"{one.code}{f' --subject {one.subject}' if one.subject else ''}" for one in refused] or ["nothing"],
        hint=f"`towpath show {candidate.id}` names what refused it.",
    )


def _records(ledger: Ledger, candidate: Candidate) -> list[Record]:
    return list(ledger.records(project=candidate.project, kind=RecordKind.WAIVER))


def _write(candidate: Candidate, who: Signatory, ledger: Ledger, said: Mapping[str, Any], *, behind: str) -> Record:
    body = {
        **who.model_dump(mode="json"),
        **said,
        "author": who.person,
        "candidate": candidate.id,
        "digest": candidate.digest,
    }
    digest, code, subject = str(candidate.digest), str(said["code"]), str(said["subject"])
    number = acts(_records(ledger, candidate), digest, code, subject)
    return ledger.append(
        Draft(
            kind=RecordKind.WAIVER,
            project=candidate.project,
            candidate=candidate.id,
            stage=STAGE,
            key=waiver_key(digest, code, subject, number),
            digest=digests.of_json(body),
            body=body,
        ),
        actor=who.person,
        behind=behind,
    )
