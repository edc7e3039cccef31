"""Which approvals count, and each refusal with its sentence."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from governance.town import ADA, BARBARA, DAY, EDITH, GRACE, KATHERINE, ROBOT, Town, charter, somebody
from towpath.core.approvals import Act
from towpath.core.errors import Denied, Forbidden
from towpath.core.evidence import Candidate, Entry, Record, RecordKind
from towpath.core.identity import Identity, Proof, Role
from towpath.core.policy import Verdict
from towpath.ports import Draft
from towpath.stages.approve import word
from towpath.stages.verdict import standing_of


def written(home: Town, candidate: Candidate, who: Identity, **changes: Any) -> Record:
    """An approval that was written past the command, as whoever reaches the ledger can."""
    given: dict[str, Any] = {"act": Act.APPROVE, "reason": "past the command", "expires": home.now + DAY, **changes}
    return home.ledger.append(word(candidate, who, home.ledger, **given), actor=who.person)


def why(home: Town, candidate: Candidate) -> list[str]:
    return [one.why for one in standing_of(home.ledger, candidate, now=home.now).discounted]


@pytest.mark.parametrize(("risk", "who"), [("low", ()), ("medium", (GRACE,)), ("high", (GRACE, BARBARA))])
def test_the_risk_says_how_many_agree(home: Town, risk: str, who: tuple[Identity, ...]) -> None:
    candidate = home.candidate(1, charter(risk))
    for number, person in enumerate(who):
        held = home.promote(candidate)
        assert held.verdict is Verdict.HOLD
        assert f"and {number} count" in held.reasons[0]
        home.approve(candidate, person)
    assert home.promote(candidate).verdict is Verdict.PROMOTE


def test_one_person_twice_is_one(home: Town) -> None:
    candidate = home.candidate(1, charter("high"))
    home.approve(candidate, GRACE)
    assert home.approve(candidate, GRACE).again
    other = somebody("grace ", Role.RELEASE_MANAGER, account="grace-at-home")
    written(home, candidate, other)
    assert home.promote(candidate).verdict is Verdict.HOLD
    assert len(standing_of(home.ledger, candidate, now=home.now).counted) == 1


SELF = {
    "the submitter": (somebody("Ada", Role.RELEASE_MANAGER), "Ada submitted it"),
    "another account of the submitter": (
        somebody("ADA", Role.RELEASE_MANAGER, account="ada2"),
        "ADA submitted it",
    ),
    "a token that the submitter made": (
        somebody("Bob", Role.RELEASE_MANAGER, issued_by="Ada"),
        "the token of Bob was made by Ada, who submitted it",
    ),
    "a name that is only claimed": (
        somebody("Zoe", Role.RELEASE_MANAGER, proof=Proof.CLAIMED),
        "the name Zoe was only claimed, and proved by no token",
    ),
    "an admin, who is no release manager": (
        KATHERINE,
        "it takes release-manager, and Katherine had platform-admin",
    ),
}


@pytest.mark.parametrize("name", SELF)
def test_whose_word_does_not_count(home: Town, name: str) -> None:
    who, sentence = SELF[name]
    candidate = home.candidate(1)
    with pytest.raises(Denied) as caught:
        home.approve(candidate, who)
    assert sentence in caught.value.message
    written(home, candidate, who)
    assert why(home, candidate) == [sentence]
    assert home.promote(candidate).verdict is Verdict.HOLD


@pytest.mark.parametrize("who", [ADA, ROBOT])
def test_who_may_not_approve_at_all(home: Town, who: Identity) -> None:
    candidate = home.candidate(1)
    with pytest.raises(Forbidden, match="may not approve"):
        home.approve(candidate, who)
    written(home, candidate, who)
    assert home.promote(candidate).verdict is Verdict.HOLD


def test_a_programs_word_counts_nowhere(home: Town) -> None:
    candidate = home.candidate(1)
    written(home, candidate, ROBOT)
    assert why(home, candidate) == ["controller is a program, which gives no word"]


def test_a_record_that_speaks_for_another(home: Town) -> None:
    candidate = home.candidate(1)
    forged = word(candidate, GRACE, home.ledger, act=Act.APPROVE, reason="in her name", expires=home.now + DAY)
    home.ledger.append(forged, actor="Ada")
    assert why(home, candidate) == ["the record is Ada's, and speaks for Grace"]
    home.approve(candidate, GRACE)
    assert home.promote(candidate).verdict is Verdict.PROMOTE


def test_a_withdrawal_in_anothers_name_takes_nothing_back(home: Town) -> None:
    candidate = home.candidate(1)
    home.approve(candidate, GRACE)
    forged = word(candidate, GRACE, home.ledger, act=Act.WITHDRAW, reason="in her name", expires=home.now)
    home.ledger.append(forged, actor="Ada")
    assert home.promote(candidate).verdict is Verdict.PROMOTE


def test_withdrawn_and_given_anew(home: Town) -> None:
    candidate = home.candidate(1)
    home.approve(candidate, GRACE)
    taken = home.withdraw(candidate, GRACE)
    assert why(home, candidate) == [f"Grace has withdrawn it in record {taken.record.sequence}"]
    assert home.promote(candidate).verdict is Verdict.HOLD
    with pytest.raises(Denied, match="nothing to take back"):
        home.withdraw(candidate, GRACE)
    home.approve(candidate, GRACE)
    assert home.promote(candidate).verdict is Verdict.PROMOTE


def test_a_withdrawn_approval_is_not_replayed(home: Town) -> None:
    candidate = home.candidate(1)
    first = home.approve(candidate, GRACE).record
    home.withdraw(candidate, GRACE)
    again = word(candidate, GRACE, home.ledger, act=Act.APPROVE, reason="x", expires=home.now + DAY)
    same: dict[str, Any] = {"key": first.key, "body": dict(first.body), "digest": first.digest}
    for key in (first.key, None, "another"):
        home.ledger.append(replace(again, **{**same, "key": key}), actor="Grace")
    assert home.promote(candidate).verdict is Verdict.HOLD
    assert "a copy of another record" in why(home, candidate)[-1]


def test_an_expired_approval(home: Town) -> None:
    declared = charter(governance={"approvals": {"expires": "2d"}})
    candidate = home.candidate(1, declared)
    home.approve(candidate, GRACE)
    home.passes(timedelta(days=2))
    assert home.promote(candidate).verdict is Verdict.HOLD
    assert why(home, candidate) == ["it expired on 2024-02-03 00:00 UTC"]
    home.approve(candidate, GRACE)
    assert home.promote(candidate).verdict is Verdict.PROMOTE


def test_no_record_says_that_it_holds_longer_than_the_charter_allows(home: Town) -> None:
    candidate = home.candidate(1, charter(governance={"approvals": {"expires": "2d"}}))
    written(home, candidate, GRACE, expires=home.now + 1000 * DAY)
    home.passes(2 * DAY)
    assert why(home, candidate) == ["it expired on 2024-02-03 00:00 UTC"]


def test_an_approval_of_another_digest(home: Town) -> None:
    first, second = home.candidate(1), home.candidate(2)
    home.approve(first, GRACE)
    assert home.promote(second).verdict is Verdict.HOLD
    moved = word(first, GRACE, home.ledger, act=Act.APPROVE, reason="moved over", expires=home.now + DAY)
    home.ledger.append(replace(moved, candidate=second.id), actor="Grace")
    assert [one[:28] for one in why(home, second)] == ["it is for another digest, " + str(first.digest)[7:9]]
    assert home.promote(second).verdict is Verdict.HOLD


def test_old_evidence_is_neither_approved_nor_promoted(home: Town) -> None:
    candidate = home.candidate(1, charter(governance={"evidence": "30d", "approvals": {"expires": "60d"}}))
    home.approve(candidate, GRACE)
    home.passes(31 * DAY)
    held = home.promote(candidate)
    assert held.reasons == (
        "its newest evidence is 31 days old, and governance.evidence allows 30: run the path again",
    )
    with pytest.raises(Denied, match="newest evidence is 31 days old"):
        home.approve(candidate, BARBARA)


def test_a_charter_that_was_edited_afterwards(home: Town) -> None:
    declared = charter("high")
    candidate = home.candidate(1, declared)
    home.approve(candidate, GRACE)
    held = home.promote(candidate, declared=charter("low"))
    assert held.verdict is Verdict.HOLD
    assert any("edited after it was registered" in line for line in held.reasons)
    assert any("needs 2 approvals" in line for line in held.reasons), "its own terms count, not the file's"


def test_a_clock_behind_the_record(home: Town) -> None:
    candidate = home.candidate(1, charter(governance={"approvals": {"expires": "1d"}}))
    home.approve(candidate, GRACE)
    home.passes(2 * DAY)
    home.candidate(2)
    home.clock[0] -= 2 * DAY
    with pytest.raises(Denied, match="clock is behind the record"):
        home.promote(candidate)
    with pytest.raises(Denied, match="clock is behind the record"):
        home.approve(candidate, BARBARA)
    home.clock[0] += 2 * DAY - timedelta(seconds=30)
    assert home.promote(candidate).verdict is Verdict.HOLD, "the record's time counts, so it has expired"


def test_a_weaker_policy_takes_an_admin_who_says_so(home: Town) -> None:
    first = home.candidate(1)
    home.approve(first, GRACE)
    home.promote(first)
    weaker = home.candidate(2, charter("low"))
    held = home.promote(weaker)
    assert "risk is low instead of medium" in held.reasons[0]
    home.approve(weaker, EDITH, policy_change=True)
    assert home.promote(weaker).verdict is Verdict.PROMOTE


def test_a_weaker_policy_takes_one_person_more(home: Town) -> None:
    first = home.candidate(1)
    home.approve(first, GRACE)
    home.promote(first)
    gates = {"rocAuc": 0.5, "logLoss": 0.7, "slices": [{"by": "pages", "minRows": 50, "rocAuc": 0.5}]}
    weaker = home.candidate(2, charter(gates=gates))
    both = somebody("Dorothy", Role.RELEASE_MANAGER, Role.PLATFORM_ADMIN)
    home.approve(weaker, both, policy_change=True)
    assert "takes 2 persons, and 1 count" in home.promote(weaker).reasons[0]
    home.approve(weaker, GRACE)
    assert home.promote(weaker).verdict is Verdict.PROMOTE


def test_who_may_say_so(home: Town) -> None:
    candidate = home.candidate(1)
    with pytest.raises(Denied, match="weakens nothing"):
        home.approve(candidate, EDITH, policy_change=True)
    home.approve(candidate, GRACE)
    home.promote(candidate)
    weaker = home.candidate(2, charter("low"))
    with pytest.raises(Denied, match="it takes a platform-admin"):
        home.approve(weaker, GRACE, policy_change=True)
    with pytest.raises(Denied, match="it takes release-manager"):
        home.approve(weaker, EDITH)


def test_a_candidate_whose_terms_are_not_known_needs_more_than_anybody_can_give(home: Town) -> None:
    candidate = home.candidate(1)
    half = Candidate(project=candidate.project, entries=candidate.entries[:5])
    with pytest.raises(Denied, match="not registered"):
        home.approve(half, GRACE)
    body = {**candidate.entries[-1].model_dump(mode="json"), "facts": {}, "key": "sha256:legacy"}
    last = Entry.model_validate(body)
    legacy = Candidate(project=candidate.project, entries=(*candidate.entries[:5], last))
    fields: dict[str, Any] = {
        "candidate": legacy.id,
        "digest": last.digest,
        "key": last.key,
        "body": last.model_dump(mode="json"),
    }
    draft = Draft(kind=RecordKind.ENTRY, project=legacy.project, stage="register", **fields)
    home.ledger.append(draft, actor="Ada")
    assert "not known which approvals it needs" in home.promote(legacy).reasons[-1]
    with pytest.raises(Denied, match="cannot be approved"):
        home.approve(legacy, GRACE)


@pytest.mark.parametrize("reason", ["", "fine"])
def test_a_word_needs_a_reason(home: Town, reason: str) -> None:
    with pytest.raises(Denied, match="needs a reason"):
        home.approve(home.candidate(1), GRACE, reason=reason)
