"""The chain of evidence: what is digested, what is not, and what may follow what."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towpath.core import digest as digests
from towpath.core.errors import IntegrityError, OutOfOrder
from towpath.core.evidence import (
    Attachment,
    Candidate,
    Entry,
    Finding,
    Outcome,
    Record,
    RecordKind,
    Severity,
    Subject,
    worst,
)

WORSE = [Outcome.PASS, Outcome.INCONCLUSIVE, Outcome.FAIL, Outcome.ERROR]


def finding(outcome: Outcome = Outcome.PASS, **values: Any) -> Finding:
    return Finding(**{"code": "eval.roc_auc", "outcome": outcome, "reason": "so it is", **values})


def entry(stage: str = "ingest", previous: str | None = None, **values: Any) -> Entry:
    given_ = {"stage": stage, "project": "p", "key": f"key of {stage}", "previous": previous, "inputs": {"a": "1"}}
    return Entry(**{**given_, "findings": (finding(),), **values})


@given(st.lists(st.sampled_from(WORSE)))
def test_the_worst_outcome_wins_and_none_is_inconclusive(outcomes: list[Outcome]) -> None:
    found = worst(finding(outcome) for outcome in outcomes)
    assert found is (max(outcomes, key=WORSE.index) if outcomes else Outcome.INCONCLUSIVE)


@given(st.sampled_from(WORSE))
def test_a_warning_closes_nothing_and_opens_nothing(outcome: Outcome) -> None:
    warning = finding(outcome, severity=Severity.WARNING)
    assert worst([warning]) is Outcome.INCONCLUSIVE
    assert worst([warning, finding()]) is Outcome.PASS


@pytest.mark.parametrize(
    "other",
    [
        {"stage": "validate"},
        {"project": "q"},
        {"key": "another"},
        {"previous": "sha256:0"},
        {"inputs": {"a": "2"}},
        {"facts": {"rows": 1}},
        {"subjects": (Subject(kind="dataset", name="t", digest="sha256:1"),)},
        {"findings": (finding(Outcome.FAIL),)},
        {"findings": (finding(measured=1),)},
        {"findings": (finding(reason="another"),)},
    ],
)
def test_what_was_found_is_digested(other: dict[str, Any]) -> None:
    assert entry().digest != entry(**other).digest


@pytest.mark.parametrize(
    "other",
    [
        {"notes": {"run_id": "r"}},
        {"attachments": (Attachment(name="a.html", digest="sha256:1", size=1, media_type="text/html"),)},
    ],
)
def test_what_happened_to_be_so_is_not(other: dict[str, Any]) -> None:
    assert entry().digest == entry(**other).digest


def test_a_volatile_measurement_is_not_digested_but_its_outcome_is() -> None:
    slow, slower = (entry(findings=(finding(measured=ms, reason=f"{ms} ms", volatile=True),)) for ms in (10.0, 11.0))
    assert slow.digest == slower.digest
    failed = entry(findings=(finding(Outcome.FAIL, measured=11.0, reason="11 ms", volatile=True),))
    assert failed.digest != slow.digest


def test_a_field_at_its_default_is_not_digested_so_that_fields_can_be_added() -> None:
    assert "severity" not in finding().digestible()
    assert "unit" not in finding().digestible()
    assert finding(severity=Severity.WARNING).digestible()["severity"] == "warning"


def test_the_digest_of_an_entry_is_a_known_one() -> None:
    """A ledger of today must verify for ever: this digest never changes."""
    assert entry().digest == "sha256:421c3884d345e6409fa8ec58fccdb19efd5a10a6fc154a7f8b9f5fbca0c09888"


def test_a_candidate_grows_by_entries_that_follow() -> None:
    first = entry()
    one = Candidate(project="p").append(first)
    two = one.append(entry("validate", previous=first.digest))
    assert two.stages == ("ingest", "validate")
    assert two.digest == two.entries[-1].digest
    assert two.id == f"p-{digests.short(two.digest or '')}"
    assert two.outcome is Outcome.PASS


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"project": "q"}, "belongs to q, not to p"),
        ({"previous": None}, "the last entry of"),
        ({"previous": "sha256:0"}, "follows sha256:0"),
        ({"stage": "ingest"}, "already has an entry of stage 'ingest'"),
    ],
)
def test_an_entry_that_does_not_follow_is_refused(wrong: dict[str, Any], says: str) -> None:
    first = entry()
    candidate = Candidate(project="p").append(first)
    with pytest.raises(OutOfOrder, match=says):
        candidate.append(entry(**{"stage": "validate", "previous": first.digest, **wrong}))


def test_a_subject_that_is_not_there_is_named_with_those_that_are() -> None:
    subjects = tuple(Subject(kind="dataset", name=name, digest=f"sha256:{name}") for name in ("a", "b"))
    with pytest.raises(OutOfOrder, match="Valid: dataset/a, dataset/b"):
        entry(subjects=subjects).subject("dataset")
    assert entry(subjects=subjects).subject("dataset", "b").digest == "sha256:b"


def record(body: Entry, digest: str) -> Record:
    return Record(
        sequence=3,
        previous=None,
        hash="sha256:2",
        kind=RecordKind.ENTRY,
        project="p",
        candidate="p-1",
        stage=body.stage,
        key=body.key,
        digest=digest,
        at=datetime(2024, 1, 1, tzinfo=UTC),
        actor="a",
        body=body.model_dump(mode="json"),
    )


def test_an_entry_that_is_not_the_recorded_one_is_not_read() -> None:
    true = entry()
    assert record(true, true.digest).entry() == true
    with pytest.raises(IntegrityError, match="Record 3 of the ledger") as caught:
        record(entry(facts={"rows": 2}), true.digest).entry()
    assert caught.value.gate == "integrity.ledger"
