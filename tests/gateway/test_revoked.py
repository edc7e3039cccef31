"""A model whose key is revoked while it is served answers nothing more: the last champion that proves itself does."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from gateway import fakes, served
from gateway.served import PROJECT, Built, House
from path import small
from towpath import wiring
from towpath.core import digest as digests
from towpath.core.evidence import Candidate, RecordKind
from towpath.ports import Purpose
from towpath.stages import keys as keeping
from towpath.stages.attest import Attesting, attest_again
from towpath.stages.serving import Head, standing_before
from towpath.stages.succession import crown
from towpath.stages.verdict import rule

CHALLENGED = 10_000


@pytest.fixture(scope="module")
def flight(built: Built) -> dict[str, Any]:
    return next(row for row in served.rows(built, 20) if row["tailnum"])


def test_what_is_left_of_a_plan() -> None:
    async def run() -> None:
        one, two, three = (
            fakes.model(name, fakes.ScriptedRuntime(["a"], lambda _: 0.5)) for name in ("one", "two", "three")
        )
        plan = fakes.plan(one, fakes.split(one, two, weight=5_000))
        assert plan.without({three}) is plan
        assert plan.without({one}) is None
        left = plan.without({two})
        assert left is not None
        assert left.split is not None
        assert (left.champion, left.split.champion, left.split.challenger) == (one, one, None)
        other = fakes.plan(three, fakes.split(one, two, weight=5_000)).without({one})
        assert other is not None
        assert (other.champion, other.split) == (three, None)

    asyncio.run(run())


@pytest.mark.slow
def test_a_revocation_is_seen_at_the_next_look(house: House) -> None:
    head = Head()
    assert head.moved(house.ledger)
    assert not head.moved(house.ledger)
    _revoke(house)
    assert head.moved(house.ledger)


@pytest.mark.slow
def test_the_last_champion_that_proves_itself_takes_over(house: House, built: Built, flight: dict[str, Any]) -> None:
    _crown(house, built.challenger)
    with served.serving(house) as gateway:

        def version() -> str | None:
            return gateway.infer([flight]).headers.get("x-towpath-version")

        assert version() == "2"
        old = _rotate(house)
        _attest(house, built.champion)
        _revoke(house, old)
        gateway.until(lambda: version() == "1")
        gateway.until(lambda: bool(_incidents(house)))
        time.sleep(2)
        assert version() == "1"
        assert _incidents(house) == [(built.challenger.id, "integrity.attestation")]

        _attest(house, built.challenger)
        gateway.until(lambda: version() == "2")

        keys, old = wiring.open_keys(house.settings), _rotate(house)
        keys.revoke(old, at=wiring.now(), after=0, reason="brought with the folder of keys, without a record")
        gateway.until(lambda: gateway.get("/readyz").status == 503)
        reply = gateway.infer([flight])
        assert reply.status == 503
        time.sleep(2)
        assert _incidents(house) == [(built.challenger.id, "integrity.attestation")] * 2  # of two keys


@pytest.mark.slow
def test_a_challenger_leaves_its_rollout(house: House, built: Built, flight: dict[str, Any]) -> None:
    house.rollout(weight=10_000)
    with served.serving(house) as gateway:
        gateway.until(lambda: gateway.infer([flight]).headers["x-towpath-version"] == "2")
        old = _rotate(house)
        _attest(house, built.champion)
        _revoke(house, old)
        gateway.until(lambda: gateway.infer([flight]).headers.get("x-towpath-fallback") == "champion")
        reply = gateway.infer([flight])
        assert (reply.status, reply.headers["x-towpath-version"]) == (200, "1")
        gateway.until(lambda: bool(_incidents(house)))
        assert _incidents(house) == [(built.challenger.id, "integrity.attestation")]


@pytest.mark.slow
def test_a_revoked_incumbent_ends_its_rollout_and_not_the_champion(house: House, built: Built) -> None:
    """The rollout's challenger has become the champion meanwhile, and proves itself; who stood before it does not."""
    house.rollout(weight=CHALLENGED)
    _crown(house, built.challenger)
    old = _rotate(house)
    _attest(house, built.challenger)
    _revoke(house, old)
    with served.watching(house.settings, house.project) as watch:
        assert watch.look()
        watch.resolve()
        plan = watch.plan
        assert plan is not None
        assert (plan.champion.approved.digest, plan.split) == (built.challenger.digest, None)
        assert _incidents(house) == [(built.champion.id, "integrity.attestation")]
        watch.look()
        watch.resolve()  # the incident moved the head
        assert not watch.look()


@pytest.mark.slow
def test_who_stood_before_without_a_record_is_passed_over(house: House, built: Built) -> None:
    """A decision that names a candidate of which the record holds nothing, and one that was never registered."""
    ruled = rule(house.ledger, built.challenger, now=datetime.now(UTC))
    draft = crown(ruled.decision, built.challenger, ruled.current, reason="by hand", governance=ruled.governance)
    for digest in (digests.of_json("nobody"), built.challenger.entry("train").digest, built.challenger.digest):
        body = {**draft.body, "digest": digest}
        house.ledger.append(
            replace(draft, key=digests.of_json([digest]), body=body, digest=digests.of_json(body)), actor="tester"
        )
    assert [one.candidate for one in standing_before(house.ledger, PROJECT)] == [built.champion.id]


def _crown(house: House, candidate: Candidate) -> None:
    """As a rollout that went well ends; nobody has to agree to a model of low risk."""
    ruled = rule(house.ledger, candidate, now=datetime.now(UTC))
    draft = crown(ruled.decision, candidate, ruled.current, reason="a newer model", governance=ruled.governance)
    house.ledger.append(draft, actor="tester")


def _rotate(house: House) -> str:
    """A new key of models; returns the id of the one before."""
    keys = wiring.open_keys(house.settings)
    old = keys.key_id(Purpose.MODEL)
    assert old is not None
    keeping.rotate(keys, house.ledger, Purpose.MODEL, actor="admin", at=wiring.now())
    return old


def _revoke(house: House, key_id: str | None = None) -> None:
    keys = wiring.open_keys(house.settings)
    key = keeping.named(keys, key_id or _rotate(house))
    keeping.revoke(keys, house.ledger, key, actor="admin", at=wiring.now(), reason="it was stolen")


def _attest(house: House, candidate: Candidate) -> None:
    with small.opened(house.project, house.state) as work:
        attest_again(candidate, Attesting.of(work))


def _incidents(house: House) -> list[tuple[str, Any]]:
    found: list[Any] = list(house.ledger.records(project=PROJECT, kind=RecordKind.INCIDENT))
    return [(record.candidate, finding["code"]) for record in found for finding in record.body["findings"]]
