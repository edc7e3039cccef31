"""What is moved by hand in MLflow is put back, recorded once and told once; as often as it is moved."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.served import PROJECT
from reconcile.attacks import ATTACKS, Attack, edit_tag, move_alias, replace_model, shown
from reconcile.desk import Desk, codes
from towpath.core import names
from towpath.core.errors import Denied, IntegrityError
from towpath.core.evidence import Incident, RecordKind
from towpath.core.governance import Drifted

pytestmark = pytest.mark.slow


def test_nothing_differs_after_the_path(at: Desk) -> None:
    found = at.look()
    assert (found.treated, found.waiting, found.shown, found.ended, found.unseen) == ((), (), (), (), ())
    assert at.incidents() == []


@pytest.mark.parametrize(("attack", "code"), ATTACKS.values(), ids=ATTACKS)
def test_one_record_and_one_alert_each_time(at: Desk, attack: Attack, code: str) -> None:
    before = shown(at.mlflow, PROJECT)
    at.look()
    attack(at.mlflow, PROJECT)
    found = at.look()
    assert all(one.restored for one in found.treated), found
    assert shown(at.mlflow, PROJECT) == before
    assert codes(at.incidents()) == [f"{code} PASS"]
    assert len(at.inbox.told) == 1
    still = at.look()
    assert (still.treated, still.unseen) == ((), ())
    assert len(at.incidents()) == len(at.inbox.told) == 1
    version = at.mlflow.get_registered_model(PROJECT).aliases
    assert set(version) == {"champion", "candidate"}


def test_a_model_that_was_made_anew_from_other_files_is_no_champion(at: Desk) -> None:
    before = shown(at.mlflow, PROJECT)
    replace_model(at.mlflow, PROJECT)
    found = at.look()
    assert {one.drift.code for one in found.treated} == {"reconcile.version"}
    assert shown(at.mlflow, PROJECT) == before
    assert at.look().treated == ()


def test_the_record_says_what_who_and_when_as_far_as_is_known(at: Desk) -> None:
    right = at.look().at
    move_alias(at.mlflow, PROJECT)
    at.look()
    (record,) = at.incidents()
    what, done = Incident.model_validate(record.body).findings
    assert (what.code, what.subject) == ("reconcile.alias", "alias champion of flights")
    assert (what.bound, what.measured) == ("version 1", "version 2")
    assert "MLflow keeps no actor" in what.source
    assert f"since {right:%Y-%m-%d %H:%M:%S}" in what.reason
    assert (done.code, done.reason) == ("reconcile.done", "put back")
    assert (record.actor, record.via) == ("reconciler", "test")
    assert record.candidate == at.house.built.champion.id
    (told,) = at.inbox.told
    assert told["title"] == "Towpath, flights: alias champion of flights was moved"
    for part in ("from version 1 to version 2", "put back", f"Record {record.sequence}", "no actor"):
        assert part in told["message"]


def test_what_is_moved_again_is_recorded_again(at: Desk) -> None:
    for times in range(1, 4):
        move_alias(at.mlflow, PROJECT)
        at.look()
        assert len(at.incidents()) == len(at.inbox.told) == times


def test_a_second_reconciler_at_the_same_time_adds_nothing(at: Desk) -> None:
    move_alias(at.mlflow, PROJECT)
    at.look()
    move_alias(at.mlflow, PROJECT)  # as the other still saw it, a moment before it was put back
    at.again()
    found = at.look(later=timedelta(seconds=1) - (at.now - at.incidents()[-1].at))
    assert [one.restored for one in found.treated] == [True]
    assert len(at.incidents()) == len(at.inbox.told) == 1


def test_several_at_once_are_one_record_each(at: Desk) -> None:
    before = shown(at.mlflow, PROJECT)
    move_alias(at.mlflow, PROJECT)
    edit_tag(at.mlflow, PROJECT)
    at.mlflow.transition_model_version_stage(PROJECT, "1", "Archived")
    at.look()
    assert sorted(codes(at.incidents())) == [f"reconcile.{what} PASS" for what in ("alias", "stage", "tags")]
    assert shown(at.mlflow, PROJECT) == before


def test_a_charter_that_only_flags_moves_nothing(at: Desk) -> None:
    at.policy = Drifted.FLAG
    move_alias(at.mlflow, PROJECT)
    for _ in range(3):
        found = at.look()
        assert [one.restored for one in found.treated] == [False]
    assert at.mlflow.get_registered_model(PROJECT).aliases["champion"] in (2, "2")
    assert codes(at.incidents()) == ["reconcile.alias FAIL"]
    assert len(at.inbox.told) == 1
    at.mlflow.set_registered_model_alias(PROJECT, "champion", "1")
    assert [one.subject for one in at.look().ended] == ["alias champion of flights"]
    assert at.look().ended == ()
    move_alias(at.mlflow, PROJECT)
    at.look()
    assert codes(at.incidents()) == [f"reconcile.alias {how}" for how in ("FAIL", "PASS", "FAIL")]
    assert len(at.inbox.told) == 2


class Stubborn:
    """A registry in which nothing can be put back."""

    def __init__(self, registry: Any) -> None:
        self._registry = registry
        self.stuck = True

    def point(self, *given: Any) -> None:
        if self.stuck:
            raise Denied("MLflow refuses to move the alias.")
        self._registry.point(*given)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._registry, name)


def test_what_cannot_be_put_back_is_said_once_and_tried_again(at: Desk) -> None:
    stubborn = Stubborn(at.ports.registry)
    at.again(registry=stubborn)
    move_alias(at.mlflow, PROJECT)
    assert at.look().treated[0].done == "it could not be put back: MLflow refuses to move the alias."
    at.look()
    assert codes(at.incidents()) == ["reconcile.alias PASS", "reconcile.alias FAIL"]
    assert [("could not be put back" in told["message"]) for told in at.inbox.told] == [True]
    stubborn.stuck = False
    found = at.look()
    assert (found.treated[0].restored, len(found.ended)) == (True, 1)
    assert at.look().treated == ()
    assert codes(at.incidents())[2:] == ["reconcile.alias PASS"]


def test_a_decision_that_mlflow_was_not_shown_yet_is_shown_and_is_no_incident(at: Desk) -> None:
    """As MLflow was in the moment of the promotion; a minute later the same is somebody's doing, or a fault."""

    def unshown() -> None:
        at.mlflow.delete_registered_model_alias(PROJECT, "champion")
        at.mlflow.delete_model_version_tag(PROJECT, "1", names.TAG_DECISION)
        at.mlflow.set_model_version_tag(PROJECT, "1", names.TAG_OUTCOME, "PASS")

    (decision,) = at.house.ledger.records(project=PROJECT, kind=RecordKind.DECISION)
    before = shown(at.mlflow, PROJECT)
    unshown()
    at.now = decision.at
    found = at.look(later=timedelta(seconds=1))
    assert (found.treated, len(found.shown)) == ((), 2)
    assert (at.incidents(), at.inbox.told) == ([], [])
    assert shown(at.mlflow, PROJECT) == before
    unshown()
    at.look()
    assert sorted(codes(at.incidents())) == ["reconcile.alias PASS", "reconcile.tags PASS"]
    assert shown(at.mlflow, PROJECT) == before


def test_a_registration_under_way_is_waited_for(at: Desk) -> None:
    """MLflow has the version seconds before the ledger has the entry."""
    run = at.mlflow.create_run(at.mlflow.get_experiment_by_name(PROJECT).experiment_id)
    made = at.mlflow.create_model_version(PROJECT, "file:///elsewhere", run_id=run.info.run_id)
    at.mlflow.set_registered_model_alias(PROJECT, "candidate", str(made.version))
    found = at.look()
    assert (found.treated, len(found.waiting)) == ((), 1)
    assert at.incidents() == []
    found = at.look(later=timedelta(seconds=20))
    assert [one.drift.code for one in found.treated] == ["reconcile.alias"]
    assert codes(at.incidents()) == ["reconcile.alias PASS"]


def test_bytes_of_the_stored_champion_are_told_and_cannot_be_put_back(at: Desk) -> None:
    model = at.house.built.champion.entry("train").notes["model_id"]
    place = str(at.mlflow.get_logged_model(model).artifact_location).removeprefix("file://")
    file = next(iter(sorted(Path(place).rglob("*.skops"))))
    whole = file.read_bytes()
    try:
        file.write_bytes(whole[:-1] + b"x")
        for _ in range(2):
            assert [(one.drift.code, one.restored) for one in at.look().treated] == [("reconcile.stored", False)]
    finally:
        file.write_bytes(whole)
    assert codes(at.incidents()) == ["reconcile.stored FAIL"]
    assert [one.code for one in at.look(later=timedelta(minutes=6)).ended] == ["reconcile.stored"]


def test_by_a_ledger_that_was_changed_nothing_is_put_back(at: Desk) -> None:
    import sqlite3

    move_alias(at.mlflow, PROJECT)
    with sqlite3.connect(at.house.state / "ledger.db") as database:
        for (name,) in database.execute("select name from sqlite_master where type = 'trigger'").fetchall():
            database.execute(f'drop trigger "{name}"')
        database.execute("update towpath_records set actor = 'mallory' where sequence = 3")
    with pytest.raises(IntegrityError, match="record 3"):
        at.look()
    assert str(at.mlflow.get_registered_model(PROJECT).aliases["champion"]) == "2"


def test_alerts_that_nobody_takes_stop_nothing(at: Desk) -> None:
    at.inbox.status = 500
    move_alias(at.mlflow, PROJECT)
    assert at.look().treated[0].restored
    assert (at.ports.alerts.sent, at.ports.alerts.failed) == (0, 1)
