"""emergency: breaking the glass. Two persons promote what lacks approvals; somebody writes about it afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from towpath.core import digest as digests
from towpath.core.access import Action, require
from towpath.core.emergencies import (
    Broken,
    EmergencyAct,
    emergency_id,
    emergency_key,
    faults,
    unfit_to_confirm,
    unfit_to_open,
)
from towpath.core.errors import Conflict, Denied, NotFound
from towpath.core.evidence import Candidate, Record, RecordKind
from towpath.core.identity import Identity
from towpath.core.policy import Decision, Policy, Verdict, decide
from towpath.core.signatory import Signatory, eyes, signed, submitters
from towpath.ports import Draft, Ledger
from towpath.stages.promote import Promoting, promote
from towpath.stages.verdict import again, broken_glass, gathered, head_of, reasoned
from towpath.stages.waived import entries_of
from towpath.stages.work import Work, candidate_of

STAGE: Final = "emergency"
_WORDS: Final = 10
"""Words that a follow-up has at least: what happened, why, and what was done about it."""


@dataclass(frozen=True, kw_only=True)
class Confirmed:
    """The emergency as it was confirmed, and the promotion that it let through."""

    emergency: str
    decision: Decision


def open_emergency(candidate: Candidate, identity: Identity, ledger: Ledger, *, reason: str, now: datetime) -> Broken:
    """The first person's part: say that this candidate must serve now, and why. Promotes nothing yet."""
    require(identity, Action.EMERGENCY_OPEN, candidate.project)
    reasoned(reason, "An emergency")
    return again(lambda: _open(candidate, identity, ledger, reason, now))


def confirm(name: str, identity: Identity, work: Work | Promoting, *, now: datetime) -> Confirmed:
    """The second person's part: promote the candidate although approvals, or conclusive findings, are missing.

    Goes past nothing that failed, was not measured, or says whose bytes these are. Confirming again goes on where a
    first attempt was cut off. Raises `Denied`, with every reason, and `Forbidden`.
    """
    place = Promoting.of(work)
    require(identity, Action.EMERGENCY_CONFIRM, place.project)
    ledger = place.ledger
    broken = emergency(ledger, place.project, name)
    candidate = candidate_of(ledger, place.project, broken.digest)
    again(lambda: _confirm(name, candidate, identity, place, now))
    decision = promote(candidate, place, reason=broken.opened.text, now=now, emergency=name)
    return Confirmed(emergency=name, decision=decision)


def follow_up(name: str, project: str, identity: Identity, ledger: Ledger, *, report: str, now: datetime) -> Broken:
    """What happened, why, and what was done about it: until it is written nothing else of the project is promoted."""
    require(identity, Action.EMERGENCY_FOLLOW_UP, project)
    if len(report.split()) < _WORDS:
        raise Denied(
            "A follow-up says what happened, why the glass was broken, and what was done about it.",
            value=report,
            hint=f"Write at least {_WORDS} words, or name a file that holds them: --report FILE.",
        )
    return again(lambda: _follow_up(name, project, identity, ledger, report, now))


def emergency(ledger: Ledger, project: str, name: str) -> Broken:
    """The emergency of that name. Raises `NotFound` with the names there are."""
    known = broken_glass(ledger, project)
    for one in known:
        if one.emergency == name:
            return one
    raise NotFound(
        f"Project {project} has no emergency {name!r}.",
        value=name,
        valid=[one.emergency for one in known] or ["none"],
        hint="`towpath emergency list` lists them.",
    )


def _open(candidate: Candidate, identity: Identity, ledger: Ledger, reason: str, now: datetime) -> Broken:
    head, _ = head_of(ledger, now)
    who = _who(identity, candidate.project)
    if (why := unfit_to_open(who, identity.person)) is not None:
        raise _denied(identity, "open an emergency", why)
    name = emergency_id(candidate.project, broken_glass(ledger, candidate.project))
    record = _write(candidate, who, ledger, EmergencyAct.OPEN, name, reason=reason, behind=head.hash)
    if eyes(record.actor) != eyes(identity.person) or record.body["digest"] != candidate.digest:
        raise Conflict(f"{record.actor} opened {name} meanwhile.", value=name, hint="Try again.")
    return emergency(ledger, candidate.project, name)


def _confirm(name: str, candidate: Candidate, identity: Identity, work: Promoting, now: datetime) -> None:
    """Write the confirmation, unless it is there; only when the promotion would go through."""
    ledger = work.ledger
    head, moment = head_of(ledger, now)
    broken = emergency(ledger, work.project, name)
    by = submitters(entries_of(ledger, candidate))
    if broken.confirmed is not None and eyes(broken.confirmed.who.person) != eyes(identity.person):
        raise Denied(f"{broken.confirmed.who.person} has confirmed {name} already.", value=name)
    who = _who(identity, work.project)
    if (why := unfit_to_confirm(who, identity.person, broken.opened.who, by)) is not None:
        raise _denied(identity, f"confirm {name}", why)
    if broken.used is not None:
        return
    _require_promotable(candidate, work, broken, who, by, moment)
    if broken.confirmed is None:
        text = broken.opened.text
        _write(candidate, who, ledger, EmergencyAct.CONFIRM, name, reason=text, behind=head.hash)


def _require_promotable(
    candidate: Candidate, work: Promoting, broken: Broken, who: Signatory, by: frozenset[str], now: datetime
) -> None:
    """Raises `Denied` for a candidate that the emergency would not let through, before anything is written."""
    second = broken.opened.model_copy(update={"who": who, "at": now})
    whole = broken.model_copy(update={"confirmed": broken.confirmed or second})
    case = gathered(work.ledger, candidate, now=now, charter=work.charter)
    found = case.model_copy(
        update={"emergency": broken.emergency, "emergency_faults": faults(whole, candidate, by, now)}
    )
    decision = decide(Policy(), candidate, found)
    if decision.verdict is not Verdict.PROMOTE:
        raise Denied(
            f"{broken.emergency} cannot promote {candidate.id}: {'; '.join(decision.reasons)}.",
            value=candidate.id,
            hint="An emergency stands in for approvals and for findings without a verdict, and for nothing else.",
        )


def _follow_up(name: str, project: str, identity: Identity, ledger: Ledger, report: str, now: datetime) -> Broken:
    head, _ = head_of(ledger, now)
    broken = emergency(ledger, project, name)
    if broken.used is None:
        raise Denied(f"{name} was never used: it has let nothing through.", value=name)
    if broken.followed_up is not None:
        raise Denied(f"{broken.followed_up.who.person} has written the follow-up of {name} already.", value=name)
    who = _who(identity, project)
    if (why := unfit_to_open(who, identity.person)) is not None:
        raise _denied(identity, f"follow up {name}", why)
    candidate = candidate_of(ledger, project, broken.digest)
    said: dict[str, Any] = {"reason": broken.opened.text, "report": report}
    _write(candidate, who, ledger, EmergencyAct.FOLLOW_UP, name, behind=head.hash, **said)
    return emergency(ledger, project, name)


def _who(identity: Identity, project: str) -> Signatory:
    return Signatory.model_validate(signed(identity, project))


def _denied(identity: Identity, what: str, why: str) -> Denied:
    return Denied(
        f"{identity.person} cannot {what}: {why}.",
        value=identity.person,
        hint="It takes two persons, each with a token or a login of their own: `towpath token create`.",
    )


def _write(
    candidate: Candidate,
    who: Signatory,
    ledger: Ledger,
    act: EmergencyAct,
    name: str,
    *,
    reason: str,
    behind: str,
    report: str = "",
) -> Record:
    body = {
        **who.model_dump(mode="json"),
        "act": act.value,
        "emergency": name,
        "candidate": candidate.id,
        "digest": candidate.digest,
        "reason": reason,
        "report": report,
    }
    return ledger.append(
        Draft(
            kind=RecordKind.EMERGENCY,
            project=candidate.project,
            candidate=candidate.id,
            stage=STAGE,
            key=emergency_key(name, act),
            digest=digests.of_json(body),
            body=body,
        ),
        actor=who.person,
        behind=behind,
    )
