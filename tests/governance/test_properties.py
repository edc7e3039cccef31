"""No sequence of what people do leads to a promotion with fewer counted approvals than the terms ask for."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from governance import town
from governance.town import BARBARA, EDITH, GRACE, KATHERINE, Town, charter, somebody
from towpath.core.approvals import Act
from towpath.core.errors import Denied, Forbidden
from towpath.core.evidence import Candidate
from towpath.core.identity import Identity, Kind, Proof, Role
from towpath.core.policy import Verdict
from towpath.stages.approve import word
from towpath.stages.work import crowning

pytestmark = pytest.mark.slow

EXPIRES, AGE = timedelta(days=5), timedelta(days=12)
PEOPLE: dict[str, Identity] = {
    "grace": GRACE,
    "barbara": BARBARA,
    "katherine": KATHERINE,
    "edith": EDITH,
    "ada's other account": somebody("ada", Role.RELEASE_MANAGER, account="ada2"),
    "whom ada made": somebody("Bob", Role.RELEASE_MANAGER, issued_by="Ada"),
    "claimed": somebody("Zoe", Role.RELEASE_MANAGER, proof=Proof.CLAIMED),
}
TERMS = ("low", "medium", "high", "high", "medium")
ACTS = ("approve", "policy-change", "withdraw", "forge", "promote", "wait")


def declared(number: int) -> Any:
    """Terms that grow stronger and weaker from one candidate to the next."""
    governance = {"approvals": {"expires": "5d"}, "evidence": "12d"}
    return charter(TERMS[number], governance=governance)


@settings(max_examples=10, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(ACTS), st.sampled_from(sorted(PEOPLE)), st.integers(0, len(TERMS) - 1)),
        min_size=4,
        max_size=24,
    )
)
def test_never_with_fewer_than_the_terms_ask_for(done: Sequence[tuple[str, str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder, town.opened(Path(folder)) as home:
        candidates: dict[int, Candidate] = {}
        told: list[_Word] = []
        for act, name, number in done:
            candidate = candidates.get(number) or candidates.setdefault(
                number, home.candidate(number, declared(number))
            )
            _do(home, act, PEOPLE[name], candidate, told)
        for record in crowning(home.ledger, "visits"):
            number = next(key for key, one in candidates.items() if one.digest == record.body["digest"])
            _require(record.body, [one for one in told if one.sequence < record.sequence], number, record.at)


class _Word:
    """What somebody said, kept beside the ledger: an oracle that knows nothing of how the record is read."""

    def __init__(self, sequence: int, at: datetime, who: Identity, digest: str, act: str) -> None:
        self.sequence, self.at, self.who, self.digest, self.act = sequence, at, who, digest, act


def _do(home: Town, act: str, who: Identity, candidate: Candidate, told: list[_Word]) -> None:
    if act == "wait":
        home.passes(timedelta(days=2))
        return
    if act == "promote":
        home.promote(candidate, GRACE)
        return
    try:
        if act == "forge":
            until = home.now + timedelta(days=400)
            draft = word(candidate, who, home.ledger, act=Act.APPROVE, reason="past it", expires=until)
            record = home.ledger.append(draft, actor=who.person)
        elif act == "withdraw":
            record = home.withdraw(candidate, who).record
        else:
            record = home.approve(candidate, who, policy_change=act == "policy-change").record
    except (Denied, Forbidden):
        return
    told.append(_Word(record.sequence, home.now, who, str(candidate.digest), act))


def _require(body: Any, told: Sequence[_Word], number: int, at: datetime) -> None:
    """Count by hand who stood by this digest then."""
    assert body["verdict"] == Verdict.PROMOTE
    standing: dict[str, _Word] = {}
    for one in told:
        if one.digest == body["digest"] and one.who.kind is Kind.PERSON:
            standing[one.who.person.casefold()] = one
    good = [one for one in standing.values() if one.act != "withdraw" and at - one.at < EXPIRES and _eligible(one.who)]
    managers = [one for one in good if Role.RELEASE_MANAGER in one.who.roles("visits")]
    needed = {"low": 0, "medium": 1, "high": 2}[TERMS[number]]
    assert len(managers) >= needed, (body, told)
    if body["governance"]["weakened"]:
        assert any(one.act == "policy-change" for one in good)
        assert len(good) >= needed + 1


def _eligible(who: Identity) -> bool:
    return who.person.casefold() != "ada" and who.issued_by != "Ada" and who.proof is not Proof.CLAIMED
