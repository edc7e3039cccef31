"""The store of rollouts, on SQLite and on PostgreSQL: one row a rollout, each change with its record or not at all."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from ledger.conftest import Raw
from ledger.drafts import START, decision, ticking
from rollout import story
from towpath.core import digest as digests
from towpath.core.errors import Denied, IntegrityError, NotFound
from towpath.core.rollout import Phase, Rollout
from towpath.ledger import schema
from towpath.ledger.rollouts import SqlRollouts
from towpath.ledger.sql import SqlLedger
from towpath.ports import Draft, Rollouts


@pytest.fixture
def store(url: str) -> Iterator[SqlRollouts]:
    with SqlRollouts.at(url, clock=ticking()) as opened:
        yield opened


def draft(key: str | None) -> Draft:
    return decision(key, project="flights")


def begun(store: SqlRollouts, rollout: Rollout | None = None) -> Rollout:
    made = rollout or story.rollout()
    store.create(made, draft(f"start {made.rollout_id}"), actor="ada")
    return made


def onward(rollout: Rollout, phase: Phase = Phase.PREPARING, **changes: object) -> Rollout:
    return rollout.model_copy(update={"phase": phase, "generation": rollout.generation + 1, **changes})


def test_a_rollout_is_read_as_it_was_created(store: SqlRollouts, ledger: SqlLedger) -> None:
    port: Rollouts = store
    assert port.open("flights") is None
    made = begun(store, story.rollout(thresholds={"latency": 1e-7, "loss": 3.0}))
    assert port.open("flights") == port.get(made.rollout_id) == made
    assert port.history("flights") == (made,)
    assert port.open("taxis") is None
    (record,) = ledger.records()
    assert (record.key, record.actor) == (f"start {made.rollout_id}", "ada")
    with pytest.raises(NotFound, match="no rollout 'nothing'"):
        port.get("nothing")


def test_a_project_has_one_open_rollout(store: SqlRollouts, ledger: SqlLedger) -> None:
    first = begun(store)
    begun(store, story.rollout(name="taxis-r1", project="taxis"))
    with pytest.raises(Denied, match="flights-r1 of flights is pending"):
        begun(store, story.rollout(name="flights-r2"))
    assert ledger.verify().records == 2
    store.advance(first, onward(first, Phase.ABORTED), draft("end"), actor="ada")
    assert store.open("flights") is None
    second = begun(store, story.rollout(name="flights-r2", started_at=story.START + timedelta(hours=1)))
    assert [item.rollout_id for item in store.history("flights")] == [second.rollout_id, first.rollout_id]


def test_a_step_and_its_record_are_written_together(store: SqlRollouts, ledger: SqlLedger) -> None:
    made = begun(store)
    after = onward(made)
    record = store.advance(made, after, draft("step"), actor="controller")
    assert store.get(made.rollout_id) == after
    assert list(ledger.records())[-1] == record
    assert store.advance(after, onward(after), None, actor="controller") is None
    assert (store.get(made.rollout_id).generation, ledger.verify().records) == (2, 2)


def test_whoever_comes_second_changes_nothing(store: SqlRollouts, ledger: SqlLedger) -> None:
    made = begun(store)
    after = onward(made)
    store.advance(made, after, draft("step"), actor="ada")
    with pytest.raises(Denied, match="has moved on from generation 0"):
        store.advance(made, onward(made, Phase.ABORTED), draft("late"), actor="bob")
    assert (store.get(made.rollout_id), ledger.verify().records) == (after, 2)


def test_a_key_that_is_taken_leaves_the_row_as_it_was(store: SqlRollouts, ledger: SqlLedger) -> None:
    made = begun(store)
    ledger.append(draft("succession"), actor="bob")
    with pytest.raises(Denied, match="bob decided this before, in record 2"):
        store.advance(made, onward(made), draft("succession"), actor="ada")
    assert (store.get(made.rollout_id), ledger.verify().records) == (made, 2)
    with pytest.raises(Denied, match="bob decided this before"):
        store.create(story.rollout(name="taxis-r1", project="taxis"), draft("succession"), actor="ada")
    assert store.open("taxis") is None


def test_a_record_that_cannot_be_written_leaves_the_row_as_it_was(store: SqlRollouts) -> None:
    made = begun(store)
    wrong = Draft(**{**draft("step").__dict__, "digest": digests.of_json("another")})
    with pytest.raises(Exception, match="has the digest"):
        store.advance(made, onward(made), wrong, actor="ada")
    assert store.get(made.rollout_id) == made


def test_writers_at_once_one_wins(url: str, store: SqlRollouts, ledger: SqlLedger) -> None:
    made = begun(store)
    together = threading.Barrier(6)

    def write(number: int) -> bool:
        with SqlRollouts.at(url, clock=ticking()) as mine:
            together.wait(30)
            try:
                mine.advance(made, onward(made, held=str(number)), draft(f"writer {number}"), actor=f"w{number}")
            except Denied:
                return False
            return True

    with ThreadPoolExecutor(6) as pool:
        won = [number for number, did in enumerate(pool.map(write, range(6))) if did]
    assert len(won) == 1
    assert store.get(made.rollout_id).held == str(won[0])
    assert [record.key for record in ledger.records()] == ["start flights-r1", f"writer {won[0]}"]
    assert ledger.verify().whole


def test_starters_at_once_one_wins(url: str, store: SqlRollouts, ledger: SqlLedger) -> None:
    together = threading.Barrier(4)

    def start(number: int) -> bool:
        with SqlRollouts.at(url, clock=ticking()) as mine:
            together.wait(30)
            try:
                begun(mine, story.rollout(name=f"flights-r{number}"))
            except Denied:
                return False
            return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(start, range(4))) == 1
    assert (len(store.history("flights")), ledger.verify().records) == (1, 1)


def test_a_lease_is_renewed_without_a_generation_and_never_shortened(store: SqlRollouts, ledger: SqlLedger) -> None:
    made = begun(store)
    until = story.START + timedelta(seconds=90)
    assert store.renew(made.rollout_id, 0, until)
    assert store.get(made.rollout_id) == made.model_copy(update={"lease_until": until})
    assert store.renew(made.rollout_id, 0, until - timedelta(seconds=1))
    assert store.get(made.rollout_id).lease_until == until
    assert not store.renew(made.rollout_id, 1, until + timedelta(days=1))
    after = onward(made, lease_until=until + timedelta(days=7))
    store.advance(made, after, draft("step"), actor="ada")
    assert store.get(made.rollout_id).lease_until == until, "a step does not touch the lease"
    assert ledger.verify().records == 2


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM towpath_rollouts",
        "UPDATE towpath_rollouts SET generation = generation - 1",
        "UPDATE towpath_rollouts SET generation = generation + 2",
        "UPDATE towpath_rollouts SET body = '{}'",
        "UPDATE towpath_rollouts SET is_open = 0",
        "UPDATE towpath_rollouts SET project = 'taxis'",
    ],
)
def test_the_database_refuses_what_is_no_step(store: SqlRollouts, raw: Raw, statement: str) -> None:
    made = begun(store)
    after = onward(made)
    store.advance(made, after, draft("step"), actor="ada")
    with pytest.raises(DBAPIError, match="towpath: a rollout"), raw() as connection:
        connection.execute(text(statement))
    assert store.get(made.rollout_id) == after


def test_an_ended_rollout_never_changes(store: SqlRollouts, raw: Raw) -> None:
    made = begun(store)
    ended = onward(made, Phase.ABORTED)
    store.advance(made, ended, draft("end"), actor="ada")
    with pytest.raises(IntegrityError, match="not at all once it has ended"):
        store.advance(ended, onward(ended), None, actor="ada")
    assert store.get(made.rollout_id) == ended


def test_two_open_rollouts_of_a_project_cannot_be_inserted(store: SqlRollouts, raw: Raw) -> None:
    begun(store)
    columns = "project, generation, is_open, started_at, lease, body"
    with pytest.raises(DBAPIError, match=r"(?i)unique"), raw() as connection:
        connection.execute(text(f"INSERT INTO towpath_rollouts SELECT 'r2', {columns} FROM towpath_rollouts"))


@pytest.mark.parametrize("body", ["{}", "not json", '{"rollout_id": "flights-r9"}'])
def test_a_row_that_was_changed_is_no_rollout(store: SqlRollouts, raw: Raw, body: str) -> None:
    made = begun(store)
    with raw() as connection:
        connection.execute(text("UPDATE towpath_rollouts SET generation = 1, body = :body"), {"body": body})
    with pytest.raises(IntegrityError, match="holds no rollout"):
        store.open(made.project)


def test_a_row_under_another_generation_is_refused(store: SqlRollouts, raw: Raw) -> None:
    made = begun(store)
    with raw() as connection:
        connection.execute(text("UPDATE towpath_rollouts SET generation = 1"))
    with pytest.raises(IntegrityError, match="another rollout or generation"):
        store.get(made.rollout_id)


def test_a_ledger_of_before_gets_its_table(url: str, raw: Raw) -> None:
    from alembic import command
    from alembic.config import Config

    from towpath.ledger.engine import connect

    config = Config()
    config.set_main_option("script_location", str(schema.MIGRATIONS))
    database = connect(url)
    with database.writing() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    database.engine.dispose()
    with SqlRollouts.at(url, clock=ticking()) as store:
        begun(store)
        assert store.open("flights") is not None


def test_the_clock_is_the_ledgers(store: SqlRollouts) -> None:
    assert store.create(story.rollout(), draft("start"), actor="ada").at == START
