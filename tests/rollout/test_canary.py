"""The controller over a real ledger: admission, ticks, the succession, and what it does while services are down."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from rollout import house, story
from rollout.house import PROJECT, House, Registry
from towpath.cli.demo_canary import end_unfinished
from towpath.core import names
from towpath.core.errors import Denied, IntegrityError, NotFound, Problems, Unreachable
from towpath.core.evidence import Outcome
from towpath.core.looks import Look
from towpath.core.rollout import Phase, Rollout, Telemetry
from towpath.core.rollout_decision import Order
from towpath.core.rollout_orders import replay
from towpath.ledger.rollouts import SqlRollouts
from towpath.ports import Baseline
from towpath.stages.canary import LEASE, Ticked, code_digest, decisions, give, tick_once
from towpath.stages.succession import mirror
from towpath.stages.work import champion

MINUTE = timedelta(minutes=1)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[House]:
    with house.opened(tmp_path) as made:
        yield made


def tick(home: House, *strata: Any, after: timedelta = MINUTE, telemetry: Telemetry | None = None) -> Ticked:
    """A tick a minute later, with that evidence."""
    home.now += after
    home.evidence.strata = strata
    home.evidence.heard = telemetry or story.heard(home.now)
    return tick_once(home.ports, PROJECT, home.now, lease=timedelta(minutes=5))


def progressing(home: House) -> None:
    home.start()
    tick(home)
    assert tick(home).decision is not None
    assert home.row.phase is Phase.PROGRESSING


def promoted(home: House) -> None:
    progressing(home)
    for strata in (story.GOOD[:1], story.GOOD[:2], story.GOOD, story.GOOD):
        tick(home, *strata)
    assert home.row.phase is Phase.BAKING


def replayed(home: House) -> None:
    """Every decision in the ledger comes out again, and follows the one before."""
    previous = None
    for _, decision in decisions(home.ledger, home.row):
        assert replay(decision, previous=previous).differences == ()
        assert decision.code_digest == code_digest()
        previous = decision


def test_a_challenger_that_is_as_good_becomes_champion_and_every_decision_replays(home: House) -> None:
    promoted(home)
    current = champion(home.ledger, PROJECT)
    assert current is not None
    assert current.candidate.digest == home.challenger.digest
    assert current.decision.body["verdict"] == "PROMOTE"
    assert current.decision.body["champion_before"] == home.champion.digest
    tick(home, *story.BAKED, after=timedelta(hours=24))
    tick(home, *story.BAKED)
    assert (home.row.phase, home.row.weight) == (Phase.SUCCEEDED, 10_000)
    assert home.ports.rollouts.open(PROJECT) is None
    assert tick(home).rollout is None
    found = [decision.to_state for _, decision in decisions(home.ledger, home.row)]
    assert found == [
        *("pending", "preparing", "progressing", "progressing", "progressing", "promoting", "baking", "succeeded")
    ]
    replayed(home)
    assert home.ledger.verify().whole


def test_harm_leaves_the_champion_and_pulls_everybody_back(home: House) -> None:
    progressing(home)
    ticked = tick(home, *story.BAD)
    assert (home.row.phase, home.row.weight) == (Phase.ROLLING_BACK, 0)
    assert ticked.decision is not None
    assert ticked.decision.reason_code == "harm"
    tick(home)
    assert home.row.phase is Phase.ROLLED_BACK
    current = champion(home.ledger, PROJECT)
    assert current is not None
    assert current.candidate.digest == home.champion.digest
    replayed(home)


def test_harm_while_baking_makes_the_old_champion_champion_again(home: House) -> None:
    promoted(home)
    tick(home, *story.GOOD, (2, 9_500, 100, 1, 1_900, 900))
    current = champion(home.ledger, PROJECT)
    assert current is not None
    assert (current.decision.body["verdict"], current.candidate.digest) == ("ROLLBACK", home.champion.digest)
    assert (home.row.phase, home.row.weight) == (Phase.ROLLING_BACK, 0)
    tick(home)
    assert home.row.phase is Phase.ROLLED_BACK
    replayed(home)


def test_a_tick_without_news_writes_nothing_but_the_lease(home: House) -> None:
    progressing(home)
    tick(home, (0, 500, 500, 5, 26, 0))
    generation, count = home.row.generation, home.ledger.verify().records
    tick(home, (0, 500, 500, 5, 26, 0))
    assert (home.row.generation, home.ledger.verify().records) == (generation, count)
    assert home.row.lease_until == home.now + timedelta(minutes=5)


def test_a_lease_that_ran_out_is_renewed_first_and_exposure_rises_a_tick_later(home: House) -> None:
    progressing(home)
    tick(home, *story.GOOD[:1], after=timedelta(minutes=6))
    assert home.row.weight == 500
    tick(home, *story.GOOD[:1])
    assert home.row.weight == 2_500


def test_evidence_that_cannot_be_read_freezes_and_then_rolls_back(home: House) -> None:
    progressing(home)
    home.evidence.down = True
    assert tick(home).faults == ("The prediction log does not answer.",)
    tick(home, after=5 * MINUTE)
    assert (home.row.phase, home.row.held) == (Phase.HELD, "telemetry_lost")
    tick(home, after=30 * MINUTE)
    assert (home.row.phase, home.row.weight) == (Phase.ROLLING_BACK, 0)
    replayed(home)


def test_gateways_that_are_heard_do_not_make_up_for_evidence_that_cannot_be_read(home: House) -> None:
    class Blind(house.Told):
        def look(self, rollout: Rollout) -> Look:
            raise Unreachable("The labels do not answer.")

    progressing(home)
    home.evidence = Blind()
    home.ports = replace(home.ports, evidence=home.evidence)
    tick(home, after=6 * MINUTE)
    assert (home.row.phase, home.row.held) == (Phase.HELD, "telemetry_lost")
    tick(home, after=30 * MINUTE)
    assert home.row.phase is Phase.ROLLING_BACK


def test_evidence_that_contradicts_itself_is_as_good_as_none(home: House) -> None:
    progressing(home)
    tick(home, (0, 500, 500, 5, 26, 1))
    fewer = (0, 500, 500, 4, 26, 0)
    assert "fell" in tick(home, fewer).faults[0]
    tick(home, fewer, after=6 * MINUTE)
    assert (home.row.phase, home.row.held) == (Phase.HELD, "telemetry_lost")
    tick(home, fewer, after=31 * MINUTE)
    assert (home.row.phase, home.row.weight) == (Phase.ROLLING_BACK, 0)
    replayed(home)


def test_another_champion_ends_the_rollout(home: House) -> None:
    progressing(home)
    third = house.registered(home.ledger, 3)
    house.crowned(home.ledger, third)
    ticked = tick(home, *story.GOOD[:1])
    assert (home.row.phase, home.row.weight) == (Phase.SUPERSEDED, 0)
    assert ticked.decision is not None
    assert ticked.decision.verdict == "ended_without_evidence"
    assert third.id in ticked.decision.reason
    replayed(home)


def test_a_row_that_nobody_decided_is_given_no_lease(home: House, tmp_path: Path) -> None:
    progressing(home)
    leased = home.row.lease_until
    rollouts = home.ports.rollouts
    assert isinstance(rollouts, SqlRollouts)
    statement = """UPDATE towpath_rollouts SET generation = generation + 1,
        body = json_set(body, '$.weight', 9900, '$.generation', generation + 1)"""
    with rollouts._database.writing() as connection:
        connection.execute(text(statement))
    with pytest.raises(IntegrityError, match="at weight 9900, and progressing at 500 was decided"):
        tick(home, *story.GOOD[:1])
    assert home.row.lease_until == leased


def test_nothing_is_promoted_from_a_ledger_that_was_changed(home: House) -> None:
    progressing(home)
    for strata in (story.GOOD[:1], story.GOOD[:2], story.GOOD):
        tick(home, *strata)
    assert home.row.phase is Phase.PROMOTING
    rollouts = home.ports.rollouts
    assert isinstance(rollouts, SqlRollouts)
    with rollouts._database.writing() as connection:
        connection.execute(text("DROP TRIGGER towpath_records_update"))
        connection.execute(text("UPDATE towpath_records SET actor = 'eve' WHERE sequence = 2"))
    with pytest.raises(IntegrityError, match="record 2"):
        tick(home, *story.GOOD)
    assert home.row.phase is Phase.PROMOTING


def test_orders_are_carried_out_in_their_authors_name(home: House) -> None:
    progressing(home)
    paused = give(home.ports, PROJECT, story.order(Order.PAUSE), home.now)
    assert home.row.phase is Phase.HELD
    record, decision = decisions(home.ledger, home.row)[-1]
    assert (record.actor, decision) == ("ada", paused.decision.model_copy(update={"code_digest": code_digest()}))  # type: ignore[union-attr]
    give(home.ports, PROJECT, story.order(Order.ABORT), home.now)
    assert home.row.phase is Phase.ABORTED
    with pytest.raises(NotFound, match="no open rollout"):
        give(home.ports, PROJECT, story.order(Order.ABORT), home.now)
    replayed(home)


def test_an_order_needs_no_evidence(home: House) -> None:
    progressing(home)
    home.evidence.down = True
    assert give(home.ports, PROJECT, story.order(Order.ROLLBACK), home.now).faults
    assert home.row.weight == 0


# --- MLflow shows what the ledger says --------------------------------------------------------------------------------


def test_mlflow_follows_and_may_be_down(home: House) -> None:
    registry = Registry(down=True)
    promoted(home)
    with pytest.raises(Unreachable):
        mirror(home.ledger, registry.open, PROJECT)
    registry.down = False
    for _ in range(2):
        decision = mirror(home.ledger, registry.open, PROJECT)
    shown = registry.aliases[PROJECT, names.ALIAS_CHAMPION]
    assert decision is not None
    assert (shown.version, shown.tags[names.TAG_DECISION], registry.moved) == ("2", decision.hash, 1)
    tick(home, *story.GOOD, (2, 9_500, 100, 1, 1_900, 900))
    mirror(home.ledger, registry.open, PROJECT)
    assert registry.aliases[PROJECT, names.ALIAS_CHAMPION].version == "1"


# --- admission --------------------------------------------------------------------------------------------------------


def test_a_start_freezes_what_it_stands_on(home: House) -> None:
    started = home.start()
    row = home.row
    assert row == started.rollout
    assert (row.rollout_id, row.phase, row.weight, row.unit) == ("visits-r1", Phase.PENDING, 0, "visitor")
    assert (row.champion.candidate, row.challenger.candidate) == (home.champion.id, home.challenger.id)
    assert (row.champion.version, row.challenger.version) == ("1", "2")
    assert len(bytes.fromhex(row.salt)) == 16
    (_, decision), *_ = decisions(home.ledger, row)
    assert (decision.verdict, decision.actor, decision.reason) == ("continue", "ada", "a newer model")
    with pytest.raises(Denied, match="visits-r1 of visits is pending"):
        home.start()
    give(home.ports, PROJECT, story.order(Order.ABORT), home.now)
    second = home.start(now=home.now + MINUTE).rollout
    assert second.rollout_id == "visits-r2"
    assert second.salt != row.salt


SEVERAL = {"task": "multiclass", "classes": ["red", "rosé", "white"]}


def test_who_may_not_be_promoted_gets_no_traffic(home: House, tmp_path: Path) -> None:
    home.challenger = house.registered(home.ledger, 3, outcome=Outcome.FAIL)
    with pytest.raises(Denied, match=r"may not be promoted, so it gets no traffic: eval\."):
        home.start()
    home.challenger = home.champion
    with pytest.raises(Denied, match="is the champion already"):
        home.start()
    home.challenger = house.registered(home.ledger, 2)
    house.crowned(home.ledger, house.registered(home.ledger, 4))
    with pytest.raises(Denied, match="the champion is now"):
        home.start()
    home.challenger = house.registered(home.ledger, 5, trained={"task": "regression"})
    with pytest.raises(
        Denied, match=r"is a regression model, and a rollout judges .* Valid: binary, multiclass\. Leave `rollout` out"
    ):
        home.start()
    home.project = house.project(tmp_path / "plain", rollout="")
    with pytest.raises(Denied, match="declares no rollout"):
        home.start()
    assert home.ports.rollouts.history(PROJECT) == ()


def test_models_that_answer_otherwise_share_no_traffic(home: House) -> None:
    home.challenger = house.registered(home.ledger, 5, trained=SEVERAL)
    with pytest.raises(
        Denied, match=r"is a multiclass model, and .* is a binary one\. Valid: binary\. Leave `rollout`"
    ):
        home.start()
    house.crowned(home.ledger, home.challenger)
    for number, classes in enumerate((["red", "white"], ["white", "rosé", "red"], [1, 2, 3])):
        home.challenger = house.registered(home.ledger, 6 + number, trained=SEVERAL | {"classes": classes})
        with pytest.raises(Denied, match=r'in another order\. Valid: "red", "rosé", "white"\. Leave') as refused:
            home.start()
        assert json.loads(f"[{refused.value.value}]") == classes
    home.challenger = house.registered(home.ledger, 9)
    with pytest.raises(Denied, match=r"is a binary model, and .* is a multiclass one\. Valid: multiclass\."):
        home.start()
    home.challenger = house.registered(home.ledger, 10, trained=SEVERAL)
    home.start()
    assert home.row.phase is Phase.PENDING


LATENCY = house.ROLLOUT.replace(
    "guardrails: [{name: errors, type: rate, event: error, share: 1.0}]",
    "guardrails: [{name: errors, type: rate, event: error, share: 0.5}, "
    "{name: latency, type: exceedance, of: latency_ms, threshold: championP99, share: 0.5}]",
)


def baseline(home: House, *, units: int, latency: bool = True) -> Baseline:
    return Baseline(
        since=home.now - timedelta(days=2),
        until=home.now,
        requests=units,
        units=units,
        thresholds={"latency": 12.5} if latency else {},
        rates={"errors": 0.01, **({"latency": 0.01} if latency else {})},
    )


def test_thresholds_come_from_the_champions_log_or_from_a_person(home: House, tmp_path: Path) -> None:
    home.redeclare(house.project(tmp_path / "latency", rollout=LATENCY))
    with pytest.raises(Denied, match="99th percentile is not known for latency"):
        home.start()
    with pytest.raises(Denied, match="A threshold is given for errors"):
        home.start(thresholds={"errors": 1.0, "latency": 9.0})
    home.evidence.champion = baseline(home, units=1_000_000)
    started = home.start()
    assert home.row.thresholds == {"latency": 12.5}
    assert {(one.metric, one.test) for one in started.plan} == {
        ("errors", "harm"),
        ("errors", "promotion"),
        ("latency", "harm"),
    }
    give(home.ports, PROJECT, story.order(Order.ABORT), home.now)
    home.start(thresholds={"latency": 9.0}, now=home.now + MINUTE)
    assert home.row.thresholds == {"latency": 9.0}


def test_a_policy_that_cannot_decide_at_the_observed_traffic_is_refused(home: House) -> None:
    home.evidence.champion = baseline(home, units=1_000, latency=False)
    with pytest.raises(Problems, match="maxDuration is 2 days"):
        home.start()
    assert home.ports.rollouts.history(PROJECT) == ()


def test_the_lease_is_short() -> None:
    assert timedelta(seconds=30) < LEASE < timedelta(minutes=5)


def test_what_a_stopped_demo_left_open_is_rolled_back(home: House) -> None:
    end_unfinished(home.ports, PROJECT)  # nothing is open: nothing is done
    progressing(home)
    end_unfinished(home.ports, PROJECT)
    assert home.ports.rollouts.open(PROJECT) is None
    assert (home.row.phase, home.row.weight) == (Phase.ROLLED_BACK, 0)
    assert home.start().rollout.phase is Phase.PENDING, "the next one may start"
