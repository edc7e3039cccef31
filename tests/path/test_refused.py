"""Every damage is refused by its gate with a sentence that names it; nothing is promoted and the champion stays."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from path import small
from path.trail import Trail
from towpath import wiring
from towpath.core import names
from towpath.core.approvals import UNKNOWN
from towpath.core.errors import Denied, IntegrityError, NotFound, OutOfOrder
from towpath.core.evidence import Candidate, Finding, Incident, Outcome, RecordKind
from towpath.core.gates import GATES, Stage
from towpath.core.policy import Verdict
from towpath.example.sabotage import SABOTAGES, Moment
from towpath.path import ORDER, WATCH
from towpath.stages.promote import promote
from towpath.stages.sequence import FUNCTIONS, step
from towpath.stages.tracked import trained
from towpath.stages.work import Work, champion

# What the reason must name.
NAMED = {
    "schema": "dep_delay",
    "values": "dep_time",
    "stale": "time_hour is 2013-05-01",
    "duplicate-keys": "the key (time_hour, carrier, flight, origin)",
    "leakage": "minutes_gained",
    "future-features": "carrier_delays",
    "worse-model": "champion",
}
LATE = ("leakage", "future-features", "worse-model")  # refused after training: each takes ten seconds


def test_every_sabotage_is_tried() -> None:
    tried = {*NAMED, "tampered-data", "tampered-model", "tampered-ledger"}
    with_people = (Moment.ROLLOUT, Moment.APPROVAL)  # tried after a demo, in tests/docs/test_challengers.py
    assert tried == {name for name, item in SABOTAGES.items() if item.moment not in with_people}
    assert {item.gate for item in SABOTAGES.values()} <= set(GATES)


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow if name in LATE else ()) for name in NAMED])
def test_a_damaged_project_is_refused(name: str, trail: Trail, project: Path, tmp_path: Path) -> None:
    sabotage = SABOTAGES[name]
    assert sabotage.moment is Moment.PROJECT
    with _crowned(trail, tmp_path):
        sabotage.damage(project)
        with _opened(trail, project, tmp_path) as work:
            candidate = small.walk(work)
            assert candidate.entries[-1].stage == sabotage.stage
            assert candidate.outcome is not Outcome.PASS
            (finding, *_) = [item for item in _refusing(candidate) if item.code == sabotage.gate]
            assert NAMED[name] in finding.reason
            assert len(finding.reason.split()) > 4
            _goes_no_further(candidate, work)
            _is_not_promoted(candidate, work, finding.reason)


@pytest.mark.slow
def test_stored_data_that_changed_is_refused_then_taken_again(trail: Trail, tmp_path: Path) -> None:
    sabotage = SABOTAGES["tampered-data"]
    tomorrow = small.AS_OF + timedelta(hours=12)  # a candidate that is not the champion
    with (
        _crowned(trail, tmp_path) as state,
        small.opened(trail.project, state, as_of=tomorrow, environment=trail.environment) as work,
    ):
        candidate = small.walk(work, until=sabotage.after)
        dataset = candidate.entry(Stage.INGEST).subject("dataset", "flights")
        sabotage.damage(work.ports.objects.fetch(dataset.digest))
        with pytest.raises(IntegrityError, match="stored bytes") as caught:
            step(Stage.VALIDATE, candidate, work)
        assert (caught.value.gate, sabotage.stage) == (sabotage.gate, Stage.VALIDATE)
        _is_an_incident(work, sabotage.gate, Stage.VALIDATE)
        _is_not_promoted(candidate, work, "stage validate has no entry")
        # Going along the path again snapshots the source anew.
        entries = len(small.records(work.ports.ledger, RecordKind.ENTRY))
        again = small.walk(work, until=Stage.VALIDATE)
        assert again.outcome is Outcome.PASS
        assert again.entry(Stage.INGEST).digest == candidate.digest
        assert len(small.records(work.ports.ledger, RecordKind.ENTRY)) == entries + 1


def test_a_stored_model_that_changed_is_refused(trail: Trail, tmp_path: Path) -> None:
    sabotage = SABOTAGES["tampered-model"]
    state = trail.after(Stage.EVALUATE, tmp_path / "state")
    with small.opened(trail.project, state, environment=trail.environment) as work:
        candidate = small.walk(work, until=sabotage.after)
        with _damaged_model(candidate, work):
            with pytest.raises(IntegrityError, match="model") as caught:
                step(Stage.REGISTER, candidate, work)
            assert (caught.value.gate, sabotage.stage) == (sabotage.gate, Stage.REGISTER)
            _is_an_incident(work, sabotage.gate, Stage.REGISTER)
            assert work.ports.models.by_alias(work.name, names.ALIAS_CANDIDATE) is None
            decision = promote(candidate, work, reason=small.REASON, now=wiring.now())
            assert decision.verdict is Verdict.HOLD
            assert champion(work.ports.ledger, work.name) is None


def test_a_model_that_changed_after_registration_is_not_promoted(trail: Trail, tmp_path: Path) -> None:
    state = trail.after(Stage.REGISTER, tmp_path / "state")
    with small.opened(trail.project, state, environment=trail.environment) as work:
        candidate = small.walk(work)
        with _damaged_model(candidate, work), pytest.raises(IntegrityError, match="model"):
            promote(candidate, work, reason=small.REASON, now=wiring.now())
        assert small.records(work.ports.ledger, RecordKind.DECISION) == []
        assert work.ports.models.by_alias(work.name, names.ALIAS_CHAMPION) is None


def test_an_edited_ledger_promotes_nothing(trail: Trail, tmp_path: Path) -> None:
    sabotage = SABOTAGES["tampered-ledger"]
    state = trail.after(Stage.REGISTER, tmp_path / "state")
    sabotage.damage(state / "ledger.db")
    with small.opened(trail.project, state, environment=trail.environment) as work:
        verification = work.ports.ledger.verify()
        assert not verification.whole
        with pytest.raises(IntegrityError, match=f"[Rr]ecord {verification.faults[0].sequence}") as caught:
            promote(small.walk(work), work, reason=small.REASON, now=wiring.now())
        assert caught.value.gate == sabotage.gate
        assert small.records(work.ports.ledger, RecordKind.DECISION) == []
        assert work.ports.models.by_alias(work.name, names.ALIAS_CHAMPION) is None


def test_a_stage_out_of_order_is_refused(trail: Trail, tmp_path: Path) -> None:
    state = trail.after(Stage.VALIDATE, tmp_path / "state")
    with small.opened(trail.project, state, environment=trail.environment) as work:
        before = small.records(work.ports.ledger)
        started = small.walk(work, until=Stage.VALIDATE)
        for candidate, next_one in ((Candidate(project=work.name), Stage.INGEST), (started, Stage.FEATURIZE)):
            for stage in ORDER:
                if stage is not next_one:
                    with pytest.raises(OutOfOrder) as caught:
                        FUNCTIONS[stage](candidate, work)
                    assert caught.value.value == stage.value
        assert small.records(work.ports.ledger) == before


def test_nothing_is_watched_before_a_first_champion(trail: Trail, tmp_path: Path) -> None:
    state = trail.after(Stage.REGISTER, tmp_path / "state")
    with (
        small.opened(trail.project, state, as_of=small.WATCHED, order=WATCH, environment=trail.environment) as work,
        pytest.raises(NotFound, match="no champion to watch") as caught,
    ):
        step(Stage.MONITOR, Candidate(project=work.name), work)
    assert "towpath promote" in caught.value.hint


def test_half_a_path_is_not_promoted(trail: Trail, tmp_path: Path) -> None:
    state = trail.after(Stage.EVALUATE, tmp_path / "state")
    with small.opened(trail.project, state, environment=trail.environment) as work:
        candidate = small.walk(work, until=Stage.EVALUATE)
        decision = promote(candidate, work, reason=small.REASON, now=wiring.now())
        assert decision.verdict is Verdict.HOLD
        assert decision.reasons == (
            "stage register has no entry",
            *(f"gate register.{code} was not measured" for code in ("format", "model", "parity", "scan", "signature")),
            f"promote.approvals: {UNKNOWN}",
        )
        (record,) = small.records(work.ports.ledger, RecordKind.DECISION)
        assert record.body["verdict"] == "HOLD"
        assert record.actor == "tester"
        assert champion(work.ports.ledger, work.name) is None


@pytest.mark.parametrize("reason", ["", "  ", "because"])
def test_a_promotion_needs_a_reason(reason: str, trail: Trail, tmp_path: Path) -> None:
    state = trail.after(Stage.REGISTER, tmp_path / "state")
    with small.opened(trail.project, state, environment=trail.environment) as work:
        candidate = small.walk(work)
        with pytest.raises(Denied, match="reason"):
            promote(candidate, work, reason=reason, now=wiring.now())
        assert small.records(work.ports.ledger, RecordKind.DECISION) == []


def test_an_alias_moved_by_hand_makes_no_champion(trail: Trail, tmp_path: Path) -> None:
    with (
        _crowned(trail, tmp_path) as state,
        small.opened(trail.project, state, environment=trail.environment) as work,
    ):
        crowned = champion(work.ports.ledger, work.name)
        assert crowned is not None
        client = work.ports.models.client  # type: ignore[attr-defined]
        run = trained(crowned.candidate.entry(Stage.TRAIN))
        source = client.get_logged_model(run.model_id).artifact_location
        other = client.create_model_version(work.name, source, run_id=run.run_id)
        client.set_registered_model_alias(work.name, names.ALIAS_CHAMPION, other.version)
        assert _aliased(work) == str(other.version)
        assert champion(work.ports.ledger, work.name) == crowned
        client.delete_registered_model_alias(work.name, names.ALIAS_CHAMPION)
        assert champion(work.ports.ledger, work.name) == crowned
        # Promoting the champion again puts the alias back and decides nothing new.
        decisions = small.records(work.ports.ledger, RecordKind.DECISION)
        small.crown(crowned.candidate, work)
        assert _aliased(work) == str(crowned.candidate.entry(Stage.REGISTER).notes["version"])
        assert small.records(work.ports.ledger, RecordKind.DECISION) == decisions


@pytest.mark.slow
def test_one_champion_follows_another_only_when_it_was_compared_with_it(
    trail: Trail, project: Path, tmp_path: Path
) -> None:
    small.edit(project / "charter.yaml", "max_iter: 30", "max_iter: 40")
    state = trail.after(Stage.REGISTER, tmp_path / "state")
    with _opened(trail, project, tmp_path) as work:
        early = small.walk(work)  # there is no champion yet
    small.edit(project / "charter.yaml", "max_iter: 40", "max_iter: 30")
    with _opened(trail, project, tmp_path) as work:
        small.crown(trail.candidate, work)  # by the charter that it was registered with
    small.edit(project / "charter.yaml", "max_iter: 30", "max_iter: 40")
    with _opened(trail, project, tmp_path) as work:
        decision = promote(early, work, reason=small.REASON, now=wiring.now())
        assert decision.verdict is Verdict.HOLD
        assert any("champion" in line for line in decision.reasons), decision.reasons
        assert _throne(trail, state)[0] == trail.candidate.digest
        late = small.walk(work)
        assert late.entry(Stage.TRAIN) == early.entry(Stage.TRAIN)
        assert late.entry(Stage.EVALUATE).digest != early.entry(Stage.EVALUATE).digest
        small.crown(late, work)
        assert small.walk(work).digest == late.digest  # as champion it still is what it was
        last = small.records(work.ports.ledger, RecordKind.DECISION)[-1]
        assert last.body["champion_before"] == trail.candidate.digest
        found = work.ports.models.by_alias(work.name, names.ALIAS_CHAMPION)
        assert found is not None
        assert found.run_id == trained(late.entry(Stage.TRAIN)).run_id
        assert found.tags[names.TAG_DECISION] == last.hash


@contextmanager
def _crowned(trail: Trail, tmp_path: Path) -> Iterator[Path]:
    """A state with a champion, which must be the same afterwards, as must MLflow's alias."""
    state = trail.after(Stage.PROMOTE, tmp_path / "state")
    before = _throne(trail, state)
    assert before[0] is not None
    yield state
    assert _throne(trail, state) == before


def _throne(trail: Trail, state: Path) -> tuple[str | None, str | None]:
    with small.opened(trail.project, state, environment=trail.environment) as work:
        found = champion(work.ports.ledger, work.name)
        assert work.ports.ledger.verify().whole
        return found.candidate.digest if found else None, _aliased(work)


def _aliased(work: Work) -> str | None:
    found = work.ports.models.by_alias(work.name, names.ALIAS_CHAMPION)
    return found.version if found else None


@contextmanager
def _opened(trail: Trail, project: Path, tmp_path: Path) -> Iterator[Work]:
    with small.opened(project, tmp_path / "state", environment=trail.environment) as work:
        yield work


@contextmanager
def _damaged_model(candidate: Candidate, work: Work) -> Iterator[None]:
    """One byte of the stored model changed, and changed back: the trail's states share their models."""
    model_id = trained(candidate.entry(Stage.TRAIN)).model_id
    location = work.ports.models.client.get_logged_model(model_id).artifact_location  # type: ignore[attr-defined]
    file = Path(unquote(urlsplit(location).path)) / "model.skops"
    damage = SABOTAGES["tampered-model"].damage
    damage(file)
    try:
        yield
    finally:
        damage(file)  # flips the same byte


def _refusing(candidate: Candidate) -> list[Finding]:
    return [finding for finding in candidate.entries[-1].findings if finding.outcome in (Outcome.FAIL, Outcome.ERROR)]


def _goes_no_further(candidate: Candidate, work: Work) -> None:
    refused_at = ORDER.index(Stage(candidate.entries[-1].stage))
    for stage in ORDER[refused_at + 1 :]:
        with pytest.raises(OutOfOrder, match="was refused at") as caught:
            FUNCTIONS[stage](candidate, work)
        assert f"towpath show {candidate.id}" in caught.value.hint


def _is_not_promoted(candidate: Candidate, work: Work, reason: str) -> None:
    decision = promote(candidate, work, reason=small.REASON, now=wiring.now())
    assert decision.verdict is not Verdict.PROMOTE
    assert any(reason in line for line in decision.reasons), decision.reasons
    record = small.records(work.ports.ledger, RecordKind.DECISION)[-1]
    assert (record.body["verdict"], record.candidate) == (decision.verdict, candidate.id)


def _is_an_incident(work: Work, gate: str, stage: Stage) -> None:
    (record,) = small.records(work.ports.ledger, RecordKind.INCIDENT)
    incident = Incident.model_validate(record.body)
    assert [(finding.code, finding.outcome) for finding in incident.findings] == [(gate, Outcome.FAIL)]
    assert record.stage == stage
