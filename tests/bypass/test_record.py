"""Attacks on the ledger's database, by somebody who owns it and has none of the keys."""

from __future__ import annotations

import shutil
import threading
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from bypass import databases, means
from bypass.databases import EITHER, Database
from bypass.scene import PROJECT, YEAR, Scene, gateway
from bypass.test_people import held
from bypass.test_stores import incidents
from gateway import served
from path import small
from towpath import wiring
from towpath.core import digest as digests
from towpath.core.access import Action
from towpath.core.approvals import approval_key
from towpath.core.errors import Conflict, Denied, Forbidden, IntegrityError, Misconfigured, TowpathError
from towpath.core.evidence import Candidate, RecordKind
from towpath.core.policy import Verdict
from towpath.core.rollout import Phase, Rollout
from towpath.core.rollout_decision import Command, Order
from towpath.core.rollout_policy import RolloutPolicy
from towpath.core.tampering import Tampering
from towpath.core.terms import terms
from towpath.ledger.canonical import parse
from towpath.ledger.chain import Stored
from towpath.ports import Purpose
from towpath.project import load
from towpath.stages import keys as keeping
from towpath.stages.access import authorize
from towpath.stages.attest import Attesting, attest_again
from towpath.stages.canary import CanaryPorts, give, tick_once
from towpath.stages.canary_start import start
from towpath.stages.promote import promote
from towpath.stages.rollback import rollback
from towpath.stages.serving import Head, servable


def broken(scene: Scene, *kinds: Tampering) -> None:
    """The end of an attack on the ledger: it is found and named, and nobody is promoted or served by it."""
    with scene.ledger() as ledger:
        found = ledger.verify()
        assert found.verdict is not None
        assert found.verdict.kind in kinds, found.verdict
    with pytest.raises(IntegrityError) as raised:
        scene.servable()
    assert raised.value.gate == "integrity.ledger"
    with pytest.raises((IntegrityError, Misconfigured)):
        scene.promote("grace")


def policy_of(scene: Scene) -> RolloutPolicy:
    frozen = terms(scene.rolling)
    assert frozen is not None
    assert frozen.rollout is not None
    return frozen.rollout


def ports(scene: Scene, account: str) -> CanaryPorts:
    identity = scene.who(account)
    return CanaryPorts(
        ledger=wiring.open_ledger(scene.settings, via=identity.via),
        rollouts=wiring.open_rollouts(scene.settings, via=identity.via),
        evidence=wiring.open_evidence(scene.settings),
        actor=identity.person,
        keys=wiring.open_keys(scene.settings),
    )


def begun(scene: Scene) -> Rollout:
    """A rollout as it must be: Grace agreed to the challenger, Barbara started it."""
    scene.approve("grace", scene.rolling)
    with closing(ports(scene, "barbara")) as opened:
        given = {"author": "barbara", "reason": "a newer model", "now": wiring.now()}
        return start(scene.rolling, load(scene.built.rolled), opened, **given).rollout


@EITHER
def test_record_edited(scene: Scene) -> None:
    """The body of the decision that made the champion names another candidate: alone, and with its hashes again."""
    with databases.sql(scene) as database:
        row = next(one for one in means.rows(database) if one.kind == "decision")
        database.execute(
            "update towpath_records set body = replace(body, ?, ?) where sequence = ?",
            (scene.champion.digest, scene.mine.digest, row.sequence),
        )
    broken(scene, Tampering.EDITED)
    with databases.sql(scene) as database:
        means.edit(database, row, digest=scene.mine.digest, candidate=scene.mine.id)
    broken(scene, Tampering.FORGED, Tampering.EDITED)


@EITHER
def test_actor_edited(scene: Scene) -> None:
    """The submitter's name is taken off the candidate's entries, then the submitter approves."""
    with databases.sql(scene) as database:
        database.execute("update towpath_records set actor = 'robot' where actor = 'mallory' and kind = 'entry'")
    broken(scene, Tampering.FORGED_ACTOR, Tampering.EDITED)
    with pytest.raises(TowpathError):
        scene.approve("mallory-two")


@EITHER
def test_approval_inserted(scene: Scene) -> None:
    """An approval in another's name is put behind the last record: unsigned, and signed with a key of one's own."""
    grace = scene.who("grace")
    draft = means.agreement(scene, scene.mine, grace)
    mallorys = means.own_keys(scene.state / "mallory")
    for keys in (None, mallorys):
        with databases.sql(scene) as database:
            last = means.rows(database)[-1]
            means.insert(database, means.sealed(draft, last, actor="grace", via=grace.via, keys=keys))
        broken(scene, Tampering.FORGED)
        with databases.sql(scene) as database:
            database.execute("delete from towpath_records where sequence = ?", (last.sequence + 1,))
    scene.unmoved()


@EITHER
def test_approval_replayed_in_the_database(scene: Scene) -> None:
    """The row of an approval that was withdrawn is inserted again behind the last, as it is and numbered anew."""
    scene.approve("grace")
    scene.withdraw("grace")
    with databases.sql(scene) as database:
        found = means.rows(database)
        old, last = next(one for one in found if one.kind == "approval"), found[-1]
        again = replace(old, sequence=last.sequence + 1, previous=last.hash)
        again = replace(again, key=None, hash=digests.of_json(means.content(again)))
        means.insert(database, again)
    broken(scene, Tampering.INSERTED, Tampering.FORGED, Tampering.FORGED_ACTOR)
    with databases.sql(scene) as database:
        database.execute("delete from towpath_records where sequence = ?", (last.sequence + 1,))
    with scene.ledger(scene.who("grace")) as ledger:  # by a program that writes for its own person, as records are
        said = next(record for record in ledger.records(kind=RecordKind.APPROVAL))
        for key in (said.key, None, digests.of_json(["mine"])):
            ledger.append(means.repeated(said, key=key), actor="grace")
    held(scene.promote(), "0 count")
    scene.unmoved()


@EITHER
def test_withdrawal_deleted(scene: Scene) -> None:
    """The record of a withdrawal is deleted, from the end and from the middle."""
    scene.approve("grace")
    scene.withdraw("grace")
    with databases.sql(scene) as database:
        before = means.rows(database)
        database.execute("delete from towpath_records where sequence = ?", (before[-1].sequence,))
    broken(scene, Tampering.TRUNCATED)
    with databases.sql(scene) as database:
        means.rewrite(database, before)
    scene.approve("barbara", scene.rolling)
    with databases.sql(scene) as database:
        database.execute("delete from towpath_records where sequence = ?", (before[-1].sequence,))
    broken(scene, Tampering.DELETED)


@EITHER
def test_ledger_truncated_then_continued(scene: Scene) -> None:
    """The end is cut off, with the withdrawal in it, and the ledger goes on by the platform's own commands."""
    scene.approve("grace")
    scene.withdraw("grace")
    with databases.sql(scene) as database:
        last = means.rows(database)[-1].sequence
        database.execute("delete from towpath_records where sequence = ?", (last,))
    barbara = scene.who("barbara")
    for _ in range(3):
        with scene.ledger(barbara) as ledger:
            ledger.append(means.agreement(scene, scene.rolling, barbara), actor="barbara")
    broken(scene, Tampering.TRUNCATED)


@EITHER
def test_old_copy_of_the_database(scene: Scene) -> None:
    """The database of before a withdrawal is put back, whole."""
    scene.approve("grace")
    kept = databases.copied(scene)
    scene.withdraw("grace")
    databases.put_back(scene, kept)
    broken(scene, Tampering.TRUNCATED)


@EITHER
def test_signatures_stripped(scene: Scene) -> None:
    """Every record's signature is taken off and every hash computed again, with a coronation at the end."""
    draft = means.coronation(scene, scene.mine)
    with databases.sql(scene) as database:
        made = means.resealed(means.rows(database))
        made.append(means.sealed(draft, made[-1], actor="grace", via=None))
        means.rewrite(database, made)
    broken(scene, Tampering.FORGED, Tampering.REWRITTEN)


@EITHER
def test_unsigned_ledger_of_before_the_keys(scene: Scene) -> None:
    """A chain of one's own, unsigned and dated before the first key was made, where no checkpoint was kept."""
    approval = means.agreement(scene, scene.mine, scene.who("grace"))
    forged = means.coronation(scene, scene.mine)
    forged = means.drafted(
        forged,
        {**forged.body, "governance": {**forged.body["governance"], "decided_at": (wiring.now() - YEAR).isoformat()}},
    )
    with databases.sql(scene) as database:
        made = means.resealed(means.rows(database), moved=lambda at: at - YEAR)
        for draft in (approval, forged):
            made.append(means.sealed(draft, made[-1], actor="grace", via="token:1", at=wiring.now() - YEAR))
        means.rewrite(database, made)
    shutil.rmtree(scene.settings.keys / "checkpoints")
    broken(scene, Tampering.FORGED)


@EITHER
def test_another_ledger(scene: Scene) -> None:
    """The gateway's settings name a database of the attacker's own: their chain, signed with their keys."""
    draft = means.coronation(scene, scene.mine)
    mallorys = means.own_keys(scene.state / "mallory")
    scene.environment["TOWPATH_LEDGER"] = databases.copied(scene)
    with databases.sql(scene) as database:
        made = means.resealed(means.rows(database), keys=mallorys)
        made.append(means.sealed(draft, made[-1], actor="grace", via=None, keys=mallorys))
        means.rewrite(database, made)
    broken(scene, Tampering.FORGED, Tampering.REWRITTEN)
    with gateway(scene, wait=False, more=scene.environment) as running:
        assert running.get("/readyz").status == 503
        assert running.infer(served.rows(scene.built, 1)).status in (404, 503)


@EITHER
def test_rows_edited_between_two_full_verifications(scene: Scene) -> None:
    """Right after a gateway verified everything, an old decision is edited; the next honest record makes it look."""
    head = Head()
    with scene.ledger() as ledger, closing(wiring.open_rollouts(scene.settings)) as rollouts:  # type: ignore[type-var]
        head.moved(ledger)
        before = servable(ledger, rollouts.open(PROJECT), PROJECT, head=head)
        assert before.champion is not None
        with databases.sql(scene) as database:
            found = means.rows(database)
            row = next(one for one in found if one.kind == "decision")
            approval = next(one for one in found if one.kind == "approval")
            crowned(database, scene.mine, row, approval)
        ada = scene.who("ada")
        with pytest.raises(Forbidden):  # it is recorded, and nothing is verified for it
            authorize(ada, Action.APPROVE, ledger, project=PROJECT, now=wiring.now())
        assert head.moved(ledger)
        with pytest.raises(IntegrityError):
            servable(ledger, rollouts.open(PROJECT), PROJECT, head=head)
    broken(scene, Tampering.FORGED, Tampering.EDITED)


@EITHER
def test_rows_edited_before_a_fallback(scene: Scene) -> None:
    """An old decision is edited behind a running gateway; then the champion's key is revoked, and the one before it
    takes its place."""
    scene.approve("grace", scene.rolling)
    with scene.ledger(scene.who("grace")) as ledger:
        ledger.append(means.coronation(scene, scene.rolling), actor="grace")
    with served.watching(scene.settings, scene.built.rolled) as watch:
        watch.look()
        watch.resolve()
        assert watch.plan is not None
        assert watch.plan.champion.approved.digest == scene.rolling.digest
        with databases.sql(scene) as database:
            found = means.rows(database)
            decision = next(one for one in found if one.kind == "decision")
            approval = next(one for one in found if one.kind == "approval")
            crowned(database, scene.mine, decision, approval)
        only_stated(scene, scene.mine)
        assert watch.look()
        with pytest.raises(IntegrityError) as raised:
            watch.resolve()
        assert raised.value.gate == "integrity.ledger"
        assert watch.plan is None
    broken(scene, Tampering.FORGED, Tampering.EDITED)


@EITHER
def test_weight_edited(scene: Scene) -> None:
    """A rollout that was decided to get no traffic yet is given all of it in its row, and a lease of years."""
    rollout = begun(scene)
    with databases.sql(scene) as database:
        means.edit_rollout(database, phase=Phase.PROGRESSING.value, weight=10_000, step=0, lease=wiring.now() + YEAR)
    rows = served.rows(scene.built, 3)
    with gateway(scene) as running:
        for row in rows:
            answer = running.infer([row])
            assert (answer.status, answer.headers["x-towpath-version"]) == (200, "1")
            assert answer.headers.get("x-towpath-arm", "champion") == "champion"
    with closing(ports(scene, "robot")) as opened, pytest.raises(IntegrityError):
        tick_once(opened, PROJECT, wiring.now())
    assert scene.unmoved().challenger is None
    assert "by hand" in str(scene.row)
    assert "serve.approved" in incidents(scene)
    assert rollout.weight == 0


@EITHER
def test_rollout_inserted(scene: Scene) -> None:
    """A rollout is begun by a row: of a candidate that nobody approved, then of one that was approved."""
    rollout = served.started(policy_of(scene), scene.champion, scene.rolling, wiring.now())
    rollout = rollout.model_copy(update={"phase": Phase.PROGRESSING, "weight": 10_000})
    with databases.sql(scene) as database:
        means.put_rollout(database, rollout, lease=wiring.now() + YEAR)
    scene.unmoved()
    scene.approve("grace", scene.rolling)
    found = scene.unmoved()
    assert (found.challenger, "by hand" in str(scene.row)) == (None, True)
    with closing(ports(scene, "robot")) as opened, pytest.raises(TowpathError):
        tick_once(opened, PROJECT, wiring.now())


@EITHER
def test_old_row_of_a_rollout_put_back(scene: Scene) -> None:
    """A rollout was ended by a person; its row of before, which was sealed then, is put back."""
    begun(scene)
    with databases.sql(scene) as database:
        old = database.execute("select body, generation from towpath_rollouts").fetchone()
    with closing(ports(scene, "barbara")) as opened:
        give(opened, PROJECT, Command(order=Order.ABORT, author="barbara", reason="it is bad"), wiring.now())
    assert scene.unmoved().rollout is None
    with databases.sql(scene) as database:
        database.execute(
            "update towpath_rollouts set body = ?, generation = ?, is_open = 1, lease = ?",
            (*old, (wiring.now() + YEAR).isoformat()),
        )
    assert scene.unmoved().rollout is None
    assert isinstance(scene.row, Conflict)
    with closing(ports(scene, "robot")) as opened, pytest.raises(Conflict):
        tick_once(opened, PROJECT, wiring.now())


@EITHER
def test_bad_champion_of_before_in_a_row(scene: Scene) -> None:
    """A model that was champion, and was rolled back because it is bad, gets all traffic by a rollout's row."""
    scene.approve("grace")
    assert scene.promote("grace").verdict is Verdict.PROMOTE
    with closing(ports(scene, "grace")) as opened:
        rollback(PROJECT, opened, to=None, author="grace", reason="it is bad", now=wiring.now())
    rollout = served.started(policy_of(scene), scene.champion, scene.mine, wiring.now())
    rollout = rollout.model_copy(update={"phase": Phase.PROGRESSING, "weight": 10_000})
    with databases.sql(scene) as database:
        means.put_rollout(database, rollout, lease=wiring.now() + YEAR)
    scene.unmoved()


def test_own_model_rolled_forward(scene: Scene) -> None:
    """A model was rolled back because it is bad; its submitter brings it back by a rollback of their own."""
    scene.approve("grace")
    assert scene.promote("grace").verdict is Verdict.PROMOTE
    with closing(ports(scene, "grace")) as opened:
        rollback(PROJECT, opened, to=None, author="grace", reason="it is bad", now=wiring.now())
    given = {"author": "mallory", "reason": "it is good", "now": wiring.now()}
    with closing(ports(scene, "mallory")) as opened, pytest.raises(Denied, match="cannot bring it back alone"):
        rollback(PROJECT, opened, to=scene.mine, **given)  # type: ignore[arg-type]
    scene.unmoved()


@EITHER
def test_evidence_of_a_rollout_edited(scene: Scene) -> None:
    """What the judge has seen is edited in the row, so that the controller finds that the challenger does no harm."""
    begun(scene)
    with databases.sql(scene) as database:
        ((text,),) = database.execute("select body from towpath_rollouts where is_open = 1").fetchall()
        means.edit_rollout(database, thresholds={"errors": 1.0}, watermark="all is well", judge=parse(text)["judge"])
    with closing(ports(scene, "robot")) as opened, pytest.raises(IntegrityError):
        tick_once(opened, PROJECT, wiring.now())
    scene.unmoved()


def test_approval_withdrawn_during_a_rollout(scene: Scene) -> None:
    """The rollout goes on after the one who agreed to its challenger took that back."""
    begun(scene)
    assert scene.servable().challenger is not None
    scene.withdraw("grace", scene.rolling)
    found = scene.unmoved()
    assert found.challenger is None
    assert "0 count" in str(found.refused[0].error)
    with closing(ports(scene, "robot")) as opened:
        ended = tick_once(opened, PROJECT, wiring.now()).rollout
    assert ended is not None
    assert ended.phase in (Phase.ABORTED, Phase.ROLLING_BACK, Phase.ROLLED_BACK)


def test_withdrawn_while_promoting(scene: Scene) -> None:
    """The approver takes it back between the verdict and the record of it."""
    scene.approve("grace")
    done: list[str] = []

    with scene.promoting("mallory") as place:
        opened = place.models()

        class Slow:
            """MLflow, while whose bytes are verified the approval is withdrawn."""

            def verified(self, *given: object, **named: object) -> object:
                if not done:
                    done.append("withdrawn")
                    scene.withdraw("grace")
                return opened.verified(*given, **named)  # type: ignore[arg-type]

        slow = replace(place, models=Slow)  # type: ignore[arg-type]
        held(promote(scene.mine, slow, reason="it is ready", now=wiring.now()), "0 count")
    assert done
    scene.unmoved()


def test_two_promotions_at_once(scene: Scene) -> None:
    """Two candidates that were compared with one champion are promoted at the same moment: one wins, one is told."""
    scene.approve("grace")
    scene.approve("grace", scene.rolling)
    gate, said = threading.Barrier(2), []

    def act(account: str) -> None:
        with scene.promoting(account) as place:
            candidate = scene.mine if account == "grace" else scene.rolling
            gate.wait(timeout=60)
            try:
                said.append(promote(candidate, place, reason="it is ready", now=wiring.now()).verdict)
            except TowpathError as error:
                said.append(type(error).__name__)

    threads = [threading.Thread(target=act, args=(account,)) for account in ("grace", "barbara")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert said.count(Verdict.PROMOTE) == 1, said
    with scene.ledger() as ledger:
        assert ledger.verify().whole
        crowned = [
            record for record in ledger.records(kind=RecordKind.DECISION) if record.body.get("verdict") == "PROMOTE"
        ]
    assert len(crowned) == 2  # the first champion, and one of the two


@pytest.mark.slow
def test_two_approvers_at_once(scene: Scene, tmp_path: Path) -> None:
    """Two accounts of one person approve at the same moment, where two persons must."""
    strict = means.softened(scene.project, tmp_path / "strict" / PROJECT, "risk: medium", "risk: high")
    candidate = scene.run("mallory", strict)
    gate = threading.Barrier(2)

    def act() -> None:
        identity = scene.who("grace")
        gate.wait(timeout=60)
        with suppress(TowpathError):
            scene.approve(identity, candidate)

    threads = [threading.Thread(target=act) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    held(scene.promote(candidate=candidate), "it needs 2 approvals", "1 count")
    scene.unmoved()


def test_clock_moved_back(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of the machine is put back, so that an approval that has expired holds again."""
    scene.approve("grace")
    with means.later(monkeypatch, days=15):
        held(scene.promote(), "0 count")  # and the record is of that day now
    with pytest.raises(Denied, match="clock is behind the record"):
        scene.promote()
    with pytest.raises(Denied, match="clock is behind the record"):
        scene.approve("barbara")
    scene.unmoved()


@EITHER
def test_signed_by_a_revoked_key(scene: Scene) -> None:
    """The ledger's key was stolen, revoked and replaced; the thief goes on to sign with it."""
    stolen = scene.state / "stolen"
    shutil.copytree(scene.settings.keys, stolen)
    keys = wiring.open_keys(scene.settings)
    old = keys.key_id(Purpose.LEDGER)
    assert old is not None
    keys.rotate(Purpose.LEDGER, at=wiring.now())
    with scene.ledger() as ledger:
        head = ledger.head()
        assert head is not None
        keys.revoke(old, at=wiring.now(), after=head.sequence, reason="it was stolen")
    from towpath.adapters.keys_local import LocalKeys

    grace = scene.who("grace")
    draft = means.agreement(scene, scene.mine, grace)
    with databases.sql(scene) as database:
        row = means.sealed(draft, means.rows(database)[-1], actor="grace", via=grace.via, keys=LocalKeys(stolen))
        means.insert(database, row)
    broken(scene, Tampering.FORGED)


def test_attestation_copied(scene: Scene) -> None:
    """The attestation of the champion is written once more as another candidate's, in place of its own."""
    with scene.ledger() as ledger:
        mine = next(ledger.records(candidate=scene.champion.id, kind=RecordKind.ATTESTATION))
    from towpath.core.statement import claims
    from towpath.stages.attested import require_attested

    with scene.ledger(scene.who("mallory")) as ledger:
        draft = means.repeated(mine, key=digests.of_json(["other"]))
        ledger.append(replace(draft, candidate=scene.mine.id), actor="mallory")

    class Without:
        """The ledger as it is where the candidate's own attestation was never written."""

        def records(self, **chosen: object) -> object:
            with scene.ledger() as opened:
                found = list(opened.records(**chosen))  # type: ignore[arg-type]
            return iter(one for one in found if one.actor == "mallory" and one.body == mine.body)

    keys = wiring.open_keys(scene.settings)
    with pytest.raises(IntegrityError, match="about something else"):
        require_attested(Without(), keys, claims(scene.mine))  # type: ignore[arg-type]
    held(scene.promote(), "0 count")
    scene.unmoved()


def test_model_key_revoked(scene: Scene) -> None:
    """The key that signed the candidate's model was revoked; it is approved, promoted, and put into a rollout."""
    scene.approve("grace")
    scene.approve("grace", scene.rolling)
    keys = wiring.open_keys(scene.settings)
    old = keys.key_id(Purpose.MODEL)
    assert old is not None
    with scene.ledger() as ledger:
        head = ledger.head()
        assert head is not None
        keys.rotate(Purpose.MODEL, at=wiring.now())
        keys.revoke(old, at=wiring.now(), after=head.sequence, reason="it was stolen")
    with pytest.raises(IntegrityError, match="was revoked"):
        scene.promote("grace")
    given = {"author": "barbara", "reason": "a newer model", "now": wiring.now()}
    with closing(ports(scene, "barbara")) as opened, pytest.raises(IntegrityError, match="was revoked"):
        start(scene.rolling, load(scene.built.rolled), opened, **given)  # type: ignore[arg-type]
    scene.unmoved()


def crowned(database: Database, candidate: Candidate, decision: Stored, approval: Stored) -> None:
    """A decision and the approval behind it are edited to be another candidate's."""
    means.edit(database, approval, candidate=candidate.id, digest=candidate.digest)
    means.edit(
        database,
        decision,
        digest=candidate.digest,
        candidate=candidate.id,
        model=candidate.entry("train").subject("model").digest,
        governance={**parse(decision.body)["governance"], "approvals": []},
    )
    database.execute(
        "update towpath_records set key = ?, candidate = ? where sequence = ?",
        (approval_key(str(candidate.digest), "grace", 0), candidate.id, approval.sequence),
    )
    rehash(database, approval.sequence)


def only_stated(scene: Scene, candidate: Candidate) -> None:
    """The key of models is stolen: another takes its place, which states of that candidate alone."""
    keys, now = wiring.open_keys(scene.settings), wiring.now()
    stolen = keys.key_id(Purpose.MODEL)
    assert stolen is not None
    with scene.ledger() as ledger:
        keeping.rotate(keys, ledger, Purpose.MODEL, actor="katherine", at=now)
    opened = wiring.open_work(
        scene.settings,
        load(scene.project),
        as_of=small.AS_OF,
        progress=small.Heard(),
        identity=scene.who("mallory"),
    )
    with closing(opened.ports.ledger):  # type: ignore[type-var]
        attest_again(candidate, Attesting.of(opened))
    with scene.ledger() as ledger:
        key = keeping.named(keys, stolen)
        keeping.revoke(keys, ledger, key, actor="katherine", at=wiring.now(), reason="it was stolen")


def rehash(database: object, sequence: int) -> None:
    """The hash of a row that was edited, again."""
    (row,) = [one for one in means.rows(database) if one.sequence == sequence]  # type: ignore[arg-type]
    database.execute(  # type: ignore[attr-defined]
        "update towpath_records set hash = ? where sequence = ?", (digests.of_json(means.content(row)), sequence)
    )
