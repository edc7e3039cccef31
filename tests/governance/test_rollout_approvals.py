"""A rollout stands on approvals: it starts by them, ends when one is taken back, and serves by them alone."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from governance.town import DAY, EDITH, GRACE, ROBOT, Town, charter
from rollout import house, story
from rollout.house import PROJECT
from towpath.core.errors import Denied
from towpath.core.evidence import Candidate, Record
from towpath.core.policy import Decision, Verdict
from towpath.core.rollout import Phase, Rollout
from towpath.project import Project
from towpath.stages.canary import tick_once
from towpath.stages.canary_start import start
from towpath.stages.proof import agreed, require_crowned
from towpath.stages.rollback import rollback
from towpath.stages.succession import crown
from towpath.stages.verdict import gathered, governance
from towpath.stages.work import champion

DECLARED = charter(rollout=house.ROLLOUT, governance={"approvals": {"expires": "2d"}})


@pytest.fixture
def project(tmp_path: Path) -> Project:
    loaded = house.project(tmp_path / "project")
    return Project(folder=loaded.folder, charter=DECLARED, contracts=loaded.contracts)


@pytest.fixture
def challenger(home: Town) -> Candidate:
    """One that was registered beside a champion, and that nobody has approved yet."""
    first = home.candidate(1, DECLARED)
    home.approve(first, GRACE)
    assert home.promote(first).verdict is Verdict.PROMOTE
    return home.candidate(2, DECLARED)


def begun(home: Town, candidate: Candidate, project: Project) -> Rollout:
    given: dict[str, Any] = {"author": "Grace", "reason": "a newer model", "now": home.now}
    return start(candidate, project, home.ports(GRACE), **given).rollout


def ticks(home: Town, *looks: Any) -> Rollout:
    for strata in looks:
        home.passes(timedelta(minutes=1))
        home.evidence.strata = strata
        home.evidence.heard = story.heard(home.now)
        tick_once(home.ports(ROBOT), PROJECT, home.now, lease=timedelta(minutes=5))
    return home.rollouts.history(PROJECT)[0]


def reigning(home: Town) -> Record:
    found = champion(home.ledger, PROJECT)
    assert found is not None
    return found.decision


def test_no_traffic_without_approval(home: Town, challenger: Candidate, project: Project) -> None:
    with pytest.raises(Denied, match=r"promote\.approvals: it needs 1 approval by release-manager"):
        begun(home, challenger, project)
    home.approve(challenger, GRACE)
    assert begun(home, challenger, project).phase is Phase.PENDING


def test_a_withdrawal_ends_the_rollout(home: Town, challenger: Candidate, project: Project) -> None:
    home.approve(challenger, GRACE)
    begun(home, challenger, project)
    assert ticks(home, (), ()).weight == 500
    home.withdraw(challenger, GRACE)
    with pytest.raises(Denied, match="Grace has withdrawn it"):
        agreed(home.ledger, home.rollouts.history(PROJECT)[0])
    assert (ticks(home, ()).phase, home.rollouts.history(PROJECT)[0].weight) == (Phase.ROLLING_BACK, 0)
    assert reigning(home).body["digest"] != challenger.digest


def test_one_that_was_never_exposed_is_aborted(home: Town, challenger: Candidate, project: Project) -> None:
    home.approve(challenger, GRACE)
    begun(home, challenger, project)
    home.withdraw(challenger, GRACE)
    assert ticks(home, ()).phase is Phase.ABORTED


def test_a_withdrawal_before_the_last_step_keeps_it_from_the_crown(
    home: Town, challenger: Candidate, project: Project
) -> None:
    home.approve(challenger, GRACE)
    begun(home, challenger, project)
    assert ticks(home, (), (), story.GOOD[:1], story.GOOD[:2], story.GOOD).phase is Phase.PROMOTING
    home.withdraw(challenger, GRACE)
    assert ticks(home, story.GOOD).phase is Phase.ROLLING_BACK


def test_an_approval_that_expires_meanwhile_holds_for_this_rollout(
    home: Town, challenger: Candidate, project: Project
) -> None:
    home.approve(challenger, GRACE)
    begun(home, challenger, project)
    ticks(home, (), (), story.GOOD[:1], story.GOOD[:2], story.GOOD)
    home.passes(3 * DAY)
    row = ticks(home, story.GOOD, story.GOOD)  # the first renews a lease that ran out meanwhile
    assert row.phase is Phase.BAKING
    decision = reigning(home)
    assert decision.body["digest"] == challenger.digest
    require_crowned(home.ledger, decision)
    said: Any = decision.body["governance"]
    assert len(said["approvals"]) == 1


def test_a_withdrawal_after_the_crown_is_for_a_rollback_to_answer(
    home: Town, challenger: Candidate, project: Project
) -> None:
    home.approve(challenger, GRACE)
    begun(home, challenger, project)
    ticks(home, (), (), story.GOOD[:1], story.GOOD[:2], story.GOOD, story.GOOD)
    home.withdraw(challenger, GRACE)
    assert ticks(home, story.GOOD).phase is Phase.BAKING
    require_crowned(home.ledger, reigning(home))
    given: dict[str, Any] = {"to": None, "author": "Grace", "reason": "it was wrong", "now": home.now}
    rollback(PROJECT, home.ports(GRACE), **given)
    decision = reigning(home)
    assert (decision.body["verdict"], decision.actor) == ("ROLLBACK", "Grace")
    require_crowned(home.ledger, decision)


def test_a_row_that_no_decision_started(home: Town, challenger: Candidate, project: Project) -> None:
    home.approve(challenger, GRACE)
    row = begun(home, challenger, project)
    with pytest.raises(Denied, match="No decision started rollout visits-r9"):
        agreed(home.ledger, row.model_copy(update={"rollout_id": "visits-r9"}))


def _crowned(home: Town, candidate: Candidate, **changes: Any) -> Record:
    """A decision that was written by hand."""
    decision = Decision(
        verdict=changes.pop("verdict", Verdict.PROMOTE), candidate=candidate.id, digest=candidate.digest, reasons=("!",)
    )
    said = {**governance(gathered(home.ledger, candidate, now=home.now)), **changes}
    draft = crown(decision, candidate, champion(home.ledger, PROJECT), reason="by hand", governance=said)
    return home.ledger.append(draft, actor="Mallory")


def test_a_crown_that_was_written_by_hand(home: Town, challenger: Candidate) -> None:
    with pytest.raises(Denied, match="it needs 1 approval"):
        require_crowned(home.ledger, _crowned(home, challenger))
    home.passes(DAY)
    earlier = _crowned(home, home.candidate(3, DECLARED), decided_at="2024-01-01T00:00:00+00:00")
    with pytest.raises(Denied, match="decided at a time at which it was not"):
        require_crowned(home.ledger, earlier)
    with pytest.raises(Denied, match="there is no emergency visits-e7"):
        require_crowned(home.ledger, _crowned(home, home.candidate(4, DECLARED), emergency="visits-e7"))


def test_a_crown_that_names_nobody(home: Town, challenger: Candidate) -> None:
    decision = Decision(verdict=Verdict.PROMOTE, candidate=challenger.id, digest=challenger.digest, reasons=("!",))
    current = champion(home.ledger, PROJECT)
    draft = crown(decision, challenger, current, reason="by hand", governance=None)
    with pytest.raises(Denied, match="names nobody who agreed"):
        require_crowned(home.ledger, home.ledger.append(draft, actor="Mallory"))


def test_a_crown_that_cites_another_approval(home: Town, challenger: Candidate) -> None:
    home.approve(challenger, GRACE)
    with pytest.raises(Denied, match="an approval that its decision cites does not count"):
        require_crowned(home.ledger, _crowned(home, challenger, approvals=["sha256:" + "0" * 64]))


def test_a_rollback_to_one_that_was_never_promoted(home: Town, challenger: Candidate) -> None:
    with pytest.raises(Denied, match="which was never promoted"):
        require_crowned(home.ledger, _crowned(home, challenger, verdict=Verdict.ROLLBACK))


def test_an_approval_after_the_crown_heals_nothing(home: Town, challenger: Candidate) -> None:
    record = _crowned(home, challenger)
    home.approve(challenger, GRACE)
    with pytest.raises(Denied, match="it needs 1 approval"):
        require_crowned(home.ledger, record)


def test_a_weaker_rollout_takes_an_admin(home: Town, challenger: Candidate, project: Project) -> None:
    loose = charter(
        rollout=house.ROLLOUT.replace("ratio: 1.5", "ratio: 3"), governance={"approvals": {"expires": "2d"}}
    )
    candidate = home.candidate(5, loose)
    home.approve(candidate, GRACE)
    weaker = Project(folder=project.folder, charter=loose, contracts=project.contracts)
    with pytest.raises(Denied, match=r"ratio is 3 instead of 1\.5"):
        begun(home, candidate, weaker)
    home.approve(candidate, EDITH, policy_change=True)
    assert begun(home, candidate, weaker).challenger.digest == candidate.digest
