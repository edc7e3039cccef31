"""A person answers for one finding of one digest, for a while; never a submitter, never for whose bytes these are."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from governance.town import ADA, BARBARA, DAY, GRACE, Town, somebody
from towpath.core.errors import Denied, Forbidden, NotFound, OutOfOrder
from towpath.core.evidence import Candidate, Finding, Outcome, Record
from towpath.core.gates import GATES, Stage
from towpath.core.identity import Identity, Proof, Role
from towpath.core.policy import Verdict
from towpath.path import may_enter
from towpath.stages import waive as waivers
from towpath.stages.waived import goes_on, waived

WEAK = Finding(code="eval.slice", subject="pages=7", outcome=Outcome.FAIL, reason="few rows")


def refused(home: Town, number: int = 1) -> Candidate:
    """A candidate of which one slice was too weak."""
    return home.candidate(number, changed={"eval.slice": WEAK})


def waive(home: Town, candidate: Candidate, who: Identity = BARBARA, **changes: Any) -> Record:
    given = {"code": "eval.slice", "subject": "pages=7", "reason": "few rows there", "expires": 7 * DAY, **changes}
    return waivers.waive(candidate, who, home.ledger, now=home.now, **given)


def test_a_waiver_lets_it_through_and_erases_nothing(home: Town) -> None:
    candidate = refused(home)
    home.approve(candidate, GRACE)
    assert home.promote(candidate).verdict is Verdict.REJECT
    waive(home, candidate)
    decision = home.promote(candidate)
    assert (decision.verdict, decision.waived) == (Verdict.PROMOTE, ("eval.slice (pages=7): few rows",))
    assert candidate.outcome is Outcome.FAIL


def test_the_path_goes_on_from_where_it_was_refused(home: Town) -> None:
    whole = refused(home)
    half = Candidate(project=whole.project, entries=whole.entries[:5])
    assert not goes_on(half, home.ledger)
    with pytest.raises(OutOfOrder, match="was refused at evaluate"):
        may_enter(Stage.REGISTER, half)
    waive(home, half)
    assert goes_on(half, home.ledger)
    may_enter(Stage.REGISTER, half, waivers=waived(half, home.ledger))
    home.approve(whole, GRACE)
    assert home.promote(whole).verdict is Verdict.PROMOTE, "the whole stands on the half that was waived"


def test_it_covers_another_candidate_no_more_than_another_finding(home: Town) -> None:
    first, second = refused(home), refused(home, 2)
    waive(home, first)
    home.approve(second, GRACE)
    assert home.promote(second).verdict is Verdict.REJECT
    with pytest.raises(NotFound, match="was not refused by"):
        waive(home, first, subject="pages=1")
    with pytest.raises(NotFound):
        waive(home, first, code="eval.baseline")


def test_it_ends(home: Town) -> None:
    candidate = refused(home)
    home.approve(candidate, GRACE)
    waive(home, candidate)
    waivers.withdraw(
        candidate, GRACE, home.ledger, code="eval.slice", subject="pages=7", reason="looked again", now=home.now
    )
    assert home.promote(candidate).verdict is Verdict.REJECT
    waive(home, candidate, expires=timedelta(hours=1))
    home.passes(timedelta(hours=2))
    assert home.promote(candidate).verdict is Verdict.REJECT
    whys = [one.why for one in waivers.waivers_of(home.ledger, candidate, now=home.now)]
    assert [why.split(" in record")[0] for why in whys] == [
        "Grace has withdrawn it",
        "it expired on 2024-02-01 01:00 UTC",
    ]
    with pytest.raises(NotFound, match="is in force"):
        waivers.withdraw(
            candidate, GRACE, home.ledger, code="eval.slice", subject="pages=7", reason="once more", now=home.now
        )


@pytest.mark.parametrize(
    ("who", "sentence"),
    [
        (somebody("Ada", Role.RELEASE_MANAGER, account="ada2"), "Ada submitted it"),
        (somebody("Bob", Role.RELEASE_MANAGER, issued_by="Ada"), "was made by Ada, who submitted it"),
        (somebody("Zoe", Role.RELEASE_MANAGER, proof=Proof.CLAIMED), "was only claimed"),
    ],
)
def test_who_cannot_answer_for_it(home: Town, who: Identity, sentence: str) -> None:
    with pytest.raises(Denied) as caught:
        waive(home, refused(home), who)
    assert sentence in caught.value.message


def test_who_may_not_at_all(home: Town) -> None:
    with pytest.raises(Forbidden):
        waive(home, refused(home), ADA)


@pytest.mark.parametrize("code", [code for code, gate in GATES.items() if not gate.waivable])
def test_what_is_never_waived(home: Town, code: str) -> None:
    candidate = home.candidate(1, changed={code: Finding(code=code, outcome=Outcome.FAIL, reason="changed")})
    with pytest.raises(Denied, match="is never waived"):
        waive(home, candidate, code=code, subject="")


def test_bytes_and_signatures_are_among_them() -> None:
    never = {code for code, gate in GATES.items() if not gate.waivable}
    assert {"integrity.model", "integrity.ledger", "register.scan", "register.signature", "register.parity"} <= never


@pytest.mark.parametrize("expires", [timedelta(0), 91 * DAY])
def test_how_long_it_may_hold(home: Town, expires: timedelta) -> None:
    with pytest.raises(Denied, match="at most 90 days"):
        waive(home, refused(home), expires=expires)
