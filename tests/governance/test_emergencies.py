"""Breaking the glass: two persons, a reason, a follow-up; never past what failed or whose bytes these are."""

from __future__ import annotations

from datetime import timedelta

import pytest

from governance.town import ADA, BARBARA, EDITH, GRACE, KATHERINE, ROBOT, Town, charter, somebody
from towpath.core.emergencies import Broken
from towpath.core.errors import Denied, Forbidden, NotFound
from towpath.core.evidence import Candidate, Finding, Outcome
from towpath.core.identity import Identity, Proof, Role
from towpath.core.policy import Verdict
from towpath.stages import emergency as glass
from towpath.stages.proof import require_crowned
from towpath.stages.work import champion

REASON = "the champion answers nonsense since noon"
REPORT = "A schema change at noon broke the champion; the new one was promoted, and the contract mended."


def opened(home: Town, candidate: Candidate, who: Identity = GRACE) -> Broken:
    return glass.open_emergency(candidate, who, home.ledger, reason=REASON, now=home.now)


def confirmed(home: Town, name: str, who: Identity = EDITH) -> Verdict:
    return glass.confirm(name, who, home.place(who), now=home.now).decision.verdict


def followed(home: Town, name: str, who: Identity = GRACE, report: str = REPORT) -> Broken:
    return glass.follow_up(name, "visits", who, home.ledger, report=report, now=home.now)


def test_two_persons_promote_what_nobody_approved(home: Town) -> None:
    candidate = home.candidate(1, charter("high"))
    broken = opened(home, candidate)
    assert (broken.emergency, broken.state) == ("visits-e1", "opened")
    assert home.promote(candidate).verdict is Verdict.HOLD, "one person is not enough"
    assert confirmed(home, broken.emergency) is Verdict.PROMOTE
    current = champion(home.ledger, "visits")
    assert current is not None
    assert current.candidate.digest == candidate.digest
    require_crowned(home.ledger, current.decision)
    assert glass.emergency(home.ledger, "visits", "visits-e1").state == "follow-up missing"


def test_until_the_follow_up_nothing_else_is_promoted(home: Town) -> None:
    confirmed(home, opened(home, home.candidate(1)).emergency)
    second = home.candidate(2)
    home.approve(second, GRACE)
    held = home.promote(second)
    assert held.verdict is Verdict.HOLD
    assert "emergency visits-e1 waits for its follow-up" in held.reasons[0]
    with pytest.raises(Denied, match="waits for its follow-up"):
        confirmed(home, opened(home, home.candidate(3)).emergency)
    with pytest.raises(Denied, match="says what happened"):
        followed(home, "visits-e1", report="it is fine now")
    assert followed(home, "visits-e1").state == "followed up"
    with pytest.raises(Denied, match="has written the follow-up of visits-e1 already"):
        followed(home, "visits-e1")
    assert home.promote(second).verdict is Verdict.PROMOTE


SECOND = {
    "the same person": (somebody("GRACE", Role.PLATFORM_ADMIN, account="grace2"), "GRACE opened it"),
    "a token that the first made": (
        somebody("Zoe", Role.RELEASE_MANAGER, issued_by="Grace"),
        "the token of Zoe was made by Grace, who opened it",
    ),
    "who made the first one's token": (KATHERINE, "the token of Grace, who opened it, was made by Katherine"),
    "a claimed name": (somebody("Zoe", Role.RELEASE_MANAGER, proof=Proof.CLAIMED), "was only claimed"),
}


@pytest.mark.parametrize("name", SECOND)
def test_who_cannot_confirm(home: Town, name: str) -> None:
    who, sentence = SECOND[name]
    broken = opened(home, home.candidate(1))
    with pytest.raises(Denied) as caught:
        confirmed(home, broken.emergency, who)
    assert sentence in caught.value.message
    assert champion(home.ledger, "visits") is None


def test_one_of_the_two_has_not_submitted_it(home: Town) -> None:
    candidate = home.candidate(1, actor="Grace")
    assert confirmed(home, opened(home, candidate, GRACE).emergency, EDITH) is Verdict.PROMOTE
    followed(home, "visits-e1", EDITH)
    other = home.candidate(2, actor="Grace")
    hers = somebody("Hedy", Role.RELEASE_MANAGER, issued_by="Grace")
    broken = opened(home, other, hers)
    with pytest.raises(Denied, match=r"made by Grace|both submitted it"):
        confirmed(home, broken.emergency, GRACE)


@pytest.mark.parametrize("who", [ADA, ROBOT])
def test_who_may_not_break_the_glass(home: Town, who: Identity) -> None:
    with pytest.raises(Forbidden):
        opened(home, home.candidate(1), who)


@pytest.mark.parametrize(
    ("code", "outcome", "through"),
    [
        ("eval.slice", Outcome.INCONCLUSIVE, True),
        ("eval.slice", Outcome.FAIL, False),
        ("eval.slice", Outcome.ERROR, False),
        ("register.parity", Outcome.INCONCLUSIVE, False),
        ("register.scan", Outcome.INCONCLUSIVE, False),
        ("register.signature", Outcome.INCONCLUSIVE, False),
        ("register.model", Outcome.INCONCLUSIVE, False),
    ],
)
def test_what_an_emergency_goes_past(home: Town, code: str, outcome: Outcome, through: bool) -> None:
    candidate = home.candidate(1, changed={code: Finding(code=code, outcome=outcome, reason="not known")})
    broken = opened(home, candidate)
    if through:
        assert confirmed(home, broken.emergency) is Verdict.PROMOTE
        return
    with pytest.raises(Denied, match=f"cannot promote.*{code}"):
        confirmed(home, broken.emergency)
    assert glass.emergency(home.ledger, "visits", broken.emergency).state == "opened", "nothing was written"


def test_it_holds_for_a_day_and_for_one_promotion(home: Town) -> None:
    candidate = home.candidate(1)
    broken = opened(home, candidate)
    home.passes(timedelta(hours=25))
    with pytest.raises(Denied, match="more than 24 hours ago"):
        confirmed(home, broken.emergency)
    again = opened(home, candidate)
    assert again.emergency == "visits-e2"
    assert confirmed(home, again.emergency) is Verdict.PROMOTE
    with pytest.raises(Denied, match="has confirmed visits-e2 already"):
        confirmed(home, again.emergency, BARBARA)
    with pytest.raises(Denied, match="was never used"):
        followed(home, broken.emergency)
    with pytest.raises(NotFound):
        followed(home, "visits-e9")


def test_a_confirmation_that_was_cut_off_is_gone_on_with(home: Town) -> None:
    broken = opened(home, home.candidate(1))
    home.models.down = True
    with pytest.raises(Exception, match="MLflow does not answer"):
        confirmed(home, broken.emergency)
    assert glass.emergency(home.ledger, "visits", broken.emergency).state == "confirmed"
    home.models.down = False
    assert confirmed(home, broken.emergency) is Verdict.PROMOTE
