"""Attacks by people with accounts of their own: who may not agree, agrees."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from bypass import databases, means
from bypass.conftest import Typed
from bypass.databases import EITHER
from bypass.scene import PROJECT, YEAR, Scene, wanted
from path import small
from towpath import wiring
from towpath.core.access import MATRIX, Action
from towpath.core.errors import BadInput, Denied, Forbidden, Unauthenticated
from towpath.core.evidence import Outcome, RecordKind
from towpath.core.grants import granted
from towpath.core.identity import Identity, Kind, Role, claimed
from towpath.core.policy import Decision, Verdict
from towpath.stages.access import Doors, authorize, identify
from towpath.stages.approve import approve
from towpath.stages.emergency import confirm, follow_up, open_emergency
from towpath.stages.waive import waive


def held(decision: Decision, *said: str) -> None:
    """It was not promoted, and for that reason."""
    assert decision.verdict is not Verdict.PROMOTE
    told = " ".join(decision.reasons)
    for part in said:
        assert part in told, told


def token(scene: Scene, by: str, account: str, *roles: str, person: str | None = None) -> Identity:
    """A token that somebody makes for somebody, and who is known by it."""
    asked = replace(wanted("grace"), person=person or account, account=account, grants=granted(roles), kind=Kind.PERSON)
    with closing(wiring.open_tokens(scene.settings)) as tokens:
        made = tokens.create(asked, by=scene.who(by))[1]
        scene.tokens = {**scene.tokens, account: made}
        return tokens.identify(made)


def test_without_an_attack_it_is_promoted(scene: Scene) -> None:
    """None: one release manager who did not submit it agrees, and it is promoted."""
    held(scene.promote(), "it needs 1 approval by release-manager")
    scene.unmoved(mlflow=True)
    scene.approve("grace")
    assert scene.promote().verdict is Verdict.PROMOTE
    found = scene.servable().champion
    assert found is not None
    assert found.digest == scene.mine.digest


def test_self_approval(scene: Scene, typed: Typed) -> None:
    """The submitter approves: by the command, and by a record that a program of theirs writes."""
    ran = typed("mallory", "approve", scene.mine.id, "--reason", "my own is good")
    assert (ran.code, "submitted it" in ran.err) == (3, True)
    mallory = scene.who("mallory")
    with scene.ledger(mallory) as ledger:
        ledger.append(means.agreement(scene, scene.mine, mallory), actor="mallory")
    held(scene.promote(), "0 count")
    ran = typed("mallory", "show", scene.mine.id)
    assert "submitted it" in ran.out
    scene.unmoved(mlflow=True)


def test_two_accounts_of_one_person(scene: Scene) -> None:
    """The submitter approves with a second account, and under the name in another spelling."""
    token(scene, "katherine", "mallory-three", "release-manager", person="  MALLORY ")
    for account in ("mallory-two", "mallory-three"):
        with pytest.raises(Denied, match="submitted it"):
            scene.approve(account)
    held(scene.promote(), "0 count")
    scene.unmoved()


@pytest.mark.slow
def test_two_accounts_are_one_approver(scene: Scene, tmp_path: Path) -> None:
    """One person approves twice where two persons must."""
    strict = means.softened(scene.project, tmp_path / "strict" / PROJECT, "risk: medium", "risk: high")
    candidate = scene.run("mallory", strict)
    token(scene, "katherine", "grace-two", "release-manager", person="Grace")
    scene.approve("grace", candidate)
    scene.approve("grace-two", candidate)
    held(scene.promote(candidate=candidate), "it needs 2 approvals", "1 count")
    scene.unmoved()


def test_expired_approval(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """An approval of two weeks ago is used, and one that says that it holds for years."""
    scene.approve("grace")
    grace = scene.who("barbara")
    with scene.ledger(grace) as ledger:
        ledger.append(means.agreement(scene, scene.mine, grace, expires=wiring.now() + 9 * YEAR), actor="barbara")
    with means.later(monkeypatch, days=15):
        held(scene.promote(), "0 count")
    scene.unmoved()


def test_withdrawn_approval(scene: Scene) -> None:
    """An approval that was taken back is used."""
    scene.approve("grace")
    scene.withdraw("grace")
    held(scene.promote(), "0 count")
    scene.unmoved()


def test_approval_for_another_digest(scene: Scene) -> None:
    """An approval of another candidate is used, and one whose record names this candidate and the other's digest."""
    scene.approve("grace", scene.rolling)
    grace = scene.who("grace")
    draft = means.agreement(scene, scene.rolling, grace)
    body = {**draft.body, "candidate": scene.mine.id}
    with scene.ledger(grace) as ledger:
        ledger.append(means.drafted(draft, body, candidate=scene.mine.id), actor="grace")
    held(scene.promote(), "0 count")
    scene.unmoved()


def test_stale_evidence(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A candidate whose newest evidence is older than its charter allows is approved and promoted."""
    with means.later(monkeypatch, days=89):
        scene.approve("grace")
    with means.later(monkeypatch, days=91):
        with pytest.raises(Denied, match=r"governance\.evidence allows 90"):
            scene.approve("barbara")
        held(scene.promote(), "evidence is 91 days old")
    with means.later(monkeypatch, days=91):
        scene.unmoved()


def test_charter_edited_after_approval(scene: Scene) -> None:
    """The charter is softened behind the approval; the promotion is asked for with it, and without it."""
    scene.approve("grace")
    small.edit(scene.project / "charter.yaml", "rocAuc: 0.80", "rocAuc: 0.10")
    held(scene.promote(project=scene.project), "the charter was edited after it was registered")
    scene.unmoved()


def test_policy_weakened_in_the_same_change(scene: Scene, tmp_path: Path) -> None:
    """The change that brings the model also says that nobody has to agree to it, and that the bound is lower."""
    soft = means.softened(scene.project, tmp_path / "soft" / PROJECT, "risk: medium", "risk: low")
    small.edit(soft / "charter.yaml", "logLoss: 0.45", "logLoss: 0.9")
    candidate = scene.run("mallory", soft)
    held(scene.promote(candidate=candidate, project=soft), "it weakens the policy", "risk is low", "gates.logLoss")
    scene.approve("grace", candidate)
    held(scene.promote(candidate=candidate), "by a platform-admin who says so")
    with pytest.raises(Denied, match="platform-admin"):
        scene.approve("grace", candidate, policy_change=True)
    admin = token(scene, "katherine", "mallory-admin", "platform-admin", person="mallory")
    with pytest.raises(Denied, match="submitted it"):
        scene.approve(admin, candidate, policy_change=True)
    scene.unmoved()


def test_waiver_by_the_author(scene: Scene, tmp_path: Path) -> None:
    """A gate refuses the model; its author waives it, then has a colleague waive what is never waived."""
    hard = means.softened(scene.project, tmp_path / "hard" / PROJECT, "rocAuc: 0.80", "rocAuc: 0.999")
    refused = scene.run("mallory", hard)
    mallory, grace = scene.who("mallory"), scene.who("grace")
    given = {"code": "eval.auc", "reason": "it is good", "expires": timedelta(days=7), "now": wiring.now()}
    code = next(one.code for one in refused.findings if one.outcome is not Outcome.PASS)
    given["code"] = code
    with scene.ledger(mallory) as ledger:
        with pytest.raises(Denied, match="submitted it"):
            waive(refused, mallory, ledger, **given)  # type: ignore[arg-type]
        for never in ("integrity.model", "register.scan", "register.signature", "register.parity"):
            with pytest.raises(Denied, match="is never waived"):
                waive(refused, grace, ledger, **{**given, "code": never})  # type: ignore[arg-type]
    held(scene.promote(candidate=refused), code)
    scene.unmoved()


def test_automation_approving_itself(scene: Scene, typed: Typed) -> None:
    """The program that runs the path approves; a token makes a program a release manager."""
    robot = scene.who("robot")
    candidate = scene.run("robot")
    ran = typed("robot", "approve", candidate.id, "--reason", "all gates passed")
    assert ran.code == 3
    assert [record.actor for record in scene.records(RecordKind.ACCESS)][-1] == "robot"
    asked = replace(wanted("grace"), person="robot-two", account="robot-two", kind=Kind.SERVICE)
    with closing(wiring.open_tokens(scene.settings)) as tokens, pytest.raises(BadInput, match="release-manager"):
        tokens.create(asked, by=scene.who("katherine"))
    with scene.ledger(robot) as ledger:
        ledger.append(means.agreement(scene, candidate, robot), actor="robot")
    held(scene.promote(candidate=candidate), "0 count")
    scene.unmoved()


def test_straw_person(scene: Scene) -> None:
    """An admin who submitted makes a token for somebody who does not exist, and approves with it."""
    token(scene, "katherine", "mallory-admin", "platform-admin", person="mallory")
    token(scene, "mallory-admin", "straw", "release-manager")
    with pytest.raises(Denied, match="made by mallory"):
        scene.approve("straw")
    held(scene.promote("grace"), "0 count")
    scene.unmoved()


def test_straw_person_of_a_straw_person(scene: Scene) -> None:
    """The token that approves was made by an admin whose own token the submitter made."""
    token(scene, "katherine", "mallory-admin", "platform-admin", person="mallory")
    token(scene, "mallory-admin", "straw-admin", "platform-admin")
    token(scene, "straw-admin", "straw", "release-manager")
    with pytest.raises(Denied, match="made by"):
        scene.approve("straw")
    held(scene.promote("grace"), "0 count")
    scene.unmoved()


def test_emergency_of_one(scene: Scene) -> None:
    """Whoever opened an emergency confirms it: with the same token, another account, a straw person's."""
    token(scene, "katherine", "mallory-admin", "platform-admin", person="mallory")
    straw = token(scene, "mallory-admin", "straw", "release-manager")
    mallory = scene.who("mallory")
    with scene.ledger(mallory) as ledger:
        opened = open_emergency(scene.mine, mallory, ledger, reason="it must serve now", now=wiring.now())
    for account in ("mallory", "mallory-two", "mallory-admin"):
        with scene.promoting(account) as place, pytest.raises(Denied, match=r"opened it|submitted"):
            confirm(opened.emergency, scene.who(account), place, now=wiring.now())
    with scene.promoting("straw") as place, pytest.raises(Denied, match="made by mallory"):
        confirm(opened.emergency, straw, place, now=wiring.now())
    with scene.promoting("robot") as place, pytest.raises(Forbidden):
        confirm(opened.emergency, scene.who("robot"), place, now=wiring.now())
    scene.unmoved()


def test_emergency_without_follow_up(scene: Scene) -> None:
    """A second promotion follows a used emergency about which nobody wrote; then the follow-up is three words."""
    grace, edith = scene.who("grace"), scene.who("edith")
    with scene.ledger(grace) as ledger:
        opened = open_emergency(scene.mine, grace, ledger, reason="the champion is down", now=wiring.now())
    with scene.promoting("edith") as place:
        assert confirm(opened.emergency, edith, place, now=wiring.now()).decision.verdict is Verdict.PROMOTE
    with scene.promoting("edith") as place, pytest.raises(Denied, match=r"confirmed .* already|used already"):
        confirm(opened.emergency, scene.who("barbara"), place, now=wiring.now())
    scene.approve("barbara", scene.rolling)
    held(scene.promote(candidate=scene.champion), "waits for its follow-up")
    with scene.ledger(grace) as ledger, pytest.raises(Denied, match="follow-up says"):
        follow_up(opened.emergency, PROJECT, grace, ledger, report="all went well", now=wiring.now())
    held(scene.promote(candidate=scene.champion), "waits for its follow-up")
    found = scene.servable().champion
    assert found is not None
    assert found.digest == scene.mine.digest  # by two persons, as it must be


def test_export_without_an_approval(scene: Scene, typed: Typed, tmp_path: Path) -> None:
    """A candidate that nobody agreed to is written out as a bundle, which serves without asking anybody."""
    ran = typed("mallory", "export", scene.mine.id, "--to", str(tmp_path / "edge"))
    assert (ran.code, "may not be promoted, so it is not exported" in ran.err) == (3, True)
    assert not (tmp_path / "edge").exists()
    scene.unmoved()


def test_claimed_name_in_a_closed_installation(scene: Scene, typed: Typed) -> None:
    """`--by grace` and TOWPATH_ACTOR=grace: without a token, and with the attacker's own."""
    asked = ("approve", scene.mine.id, "--reason", "it is good", "--by", "grace")
    ran = typed(None, *asked, TOWPATH_ACTOR="grace")
    assert (ran.code, "asks for proof" in ran.err) == (3, True)
    ran = typed("mallory", *asked)
    assert (ran.code, "another name is given" in ran.err) == (3, True)
    held(scene.promote(), "0 count")
    scene.unmoved()


def test_claimed_name_in_an_open_installation(scene: Scene) -> None:
    """Where no token was ever made, an approval is given under a name, by the verb and by a record."""
    grace = claimed("grace")
    with scene.ledger(grace) as ledger:
        with pytest.raises(Denied, match="only claimed"):
            approve(scene.mine, grace, ledger, reason="it is good", now=wiring.now())
        ledger.append(means.agreement(scene, scene.mine, grace), actor="grace")
    held(scene.promote(), "0 count")
    scene.unmoved()


@EITHER
def test_installation_opened_again(scene: Scene, typed: Typed) -> None:
    """Every token is deleted from the database, so that a name is enough again, and the first token is one's own."""
    with databases.sql(scene) as database:
        database.execute("delete from towpath_tokens")
    asked = ("--person", "mallory-root", "--role", "platform-admin")
    ran = typed(None, "token", "create", *asked, TOWPATH_ACTOR="katherine")
    assert (ran.code, "asks for proof" in ran.err) == (3, True), ran.err + ran.out
    ran = typed(None, "approve", scene.mine.id, "--reason", "it is good", "--by", "grace")
    assert (ran.code, "asks for proof" in ran.err) == (3, True)
    with closing(wiring.open_tokens(scene.settings)) as tokens, pytest.raises(Unauthenticated):
        identify(Doors(tokens=tokens), None, claim="grace", now=wiring.now())
    scene.unmoved()


@EITHER
def test_token_put_into_the_database(scene: Scene, typed: Typed) -> None:
    """A row of a token with a known secret is inserted; the attacker's own row is given roles and another's name."""
    with databases.sql(scene) as database:
        database.execute(
            "update towpath_tokens set person = 'grace', grants = '[\"release-manager\",\"platform-admin\"]'"
            " where account = 'mallory-two'"
        )
        found = database.execute("select * from towpath_tokens where account = 'grace'")
        columns = [column[0] for column in found.description]
        row = dict(zip(columns, found.fetchone(), strict=True))
        secret = "ab" * 32
        row |= {"token_id": "0" * 12, "secret_sha256": means.hashed(secret)}
        marks = ", ".join("?" * len(columns))
        database.execute(f"insert into towpath_tokens ({', '.join(columns)}) values ({marks})", list(row.values()))
    for token_ in ("mallory-two", f"tp_{'0' * 12}_{secret}"):
        ran = typed(token_, "approve", scene.mine.id, "--reason", "it is good")
        assert (ran.code, "by hand" in ran.err) == (3, True), ran.err
    held(scene.promote(), "0 count")
    scene.unmoved()


def test_grants_that_go_beyond_the_matrix(scene: Scene) -> None:
    """A role that approves is granted to a program, and every role to one who only looks on."""
    with pytest.raises(ValueError, match="a service cannot be release-manager"):
        Identity(
            person="robot",
            account="robot",
            kind=Kind.SERVICE,
            proof="token",  # type: ignore[arg-type]
            grants={"*": frozenset({Role.RELEASE_MANAGER})},
        )
    viewer = token(scene, "katherine", "vera", "viewer")
    with scene.ledger(viewer) as ledger:
        for action in MATRIX:
            if action is not Action.READ:
                with pytest.raises(Forbidden):
                    authorize(viewer, action, ledger, project=PROJECT, now=wiring.now())
    refused = [record for record in scene.records(RecordKind.ACCESS) if record.actor == "vera"]
    assert len(refused) == len(MATRIX) - 1
    scene.unmoved()


def test_role_of_another_project(scene: Scene) -> None:
    """A release manager of another project approves here."""
    token(scene, "katherine", "olga", "release-manager@others")
    with pytest.raises(Forbidden):
        scene.approve("olga")
    held(scene.promote(), "0 count")
    scene.unmoved()


@EITHER
def test_revoked_token_approves(scene: Scene) -> None:
    """A token that was revoked is used, and its row's mark of it is erased."""
    identity = scene.who("grace")
    with closing(wiring.open_tokens(scene.settings)) as tokens:
        tokens.revoke(identity.credential, by=scene.who("katherine"), reason="she has left")
    with databases.sql(scene) as database:
        database.execute("update towpath_tokens set revoked_at = null")
    with pytest.raises(Unauthenticated, match="was revoked"):
        scene.approve("grace")
    scene.unmoved()
