"""ingest with masks: what the record says, and that a key which is not the one used before is refused."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pyarrow.parquet as pq
import pytest

from cli import small_project
from towpath.adapters.masking_keys import LocalPseudonymKeys
from towpath.adapters.objects_local import LocalObjects
from towpath.adapters.sources import UriSources
from towpath.core.errors import Misconfigured
from towpath.core.evidence import Candidate, Entry, RecordKind
from towpath.core.gates import Stage
from towpath.ledger.sql import SqlLedger
from towpath.project import load
from towpath.stages.ingest import ingest
from towpath.stages.masks import rotate
from towpath.stages.work import Ports, Work

MASK = "email, logicalType: string, classification: restricted"
MASKED = f"{MASK}, tags: [pii], customProperties: [{{property: mask, value: pseudonym}}]"


class Quiet:
    """The port `Progress`, of no use here."""

    def begin(self, stage: str) -> None: ...
    def step(self, what: str) -> None: ...
    def found(self) -> None: ...
    def end(self, stage: str, outcome: str) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Place:
    """A project, its state, and its keys."""

    project: Path
    state: Path
    own: bool = True

    @property
    def keys(self) -> Path:
        return self.state / "keys" / "pseudonyms"

    def ingest(self) -> Entry:
        ledger = SqlLedger.open(f"sqlite:///{self.state / 'ledger.db'}", clock=lambda: datetime.now(UTC))
        ports: dict[str, Any] = dict.fromkeys(Ports.__dataclass_fields__)
        ports |= {
            "ledger": ledger,
            "objects": LocalObjects(self.state / "objects"),
            "sources": UriSources(),
            "pseudonyms": LocalPseudonymKeys(self.keys, own=self.own),
        }
        work = Work(
            project=load(self.project),
            as_of=datetime(2024, 2, 1, tzinfo=UTC),
            actor="tester",
            ports=Ports(**ports),
            progress=cast("Any", Quiet()),
            state=self.state,
        )
        try:
            return ingest(Candidate(project=work.name), work).entry(Stage.INGEST)
        finally:
            ledger.close()

    def emails(self, entry: Entry) -> list[str]:
        digest = entry.subjects_of("dataset")["visits"].digest
        found: list[str] = pq.read_table(LocalObjects(self.state / "objects").fetch(digest))["email"].to_pylist()
        return found


@pytest.fixture
def place(tmp_path: Path) -> Place:
    project = small_project.write(tmp_path / "visits")
    contract = project / "visits.odcs.yaml"
    contract.write_text(contract.read_text().replace(MASK, MASKED))
    (tmp_path / "state").mkdir()
    return Place(project=project, state=tmp_path / "state")


def test_the_record_says_how_and_by_which_key_and_not_the_key(place: Place) -> None:
    entry = place.ingest()
    key = LocalPseudonymKeys(place.keys, own=True).current("default")
    assert key is not None, "made at first use, where everything is one person's own"
    recorded = {"version": 1, "key_id": key.key_id}
    assert entry.facts["masks"] == {
        "visits": {"columns": {"email": {"method": "pseudonym", "key": "default"}}, "keys": {"default": recorded}}
    }
    assert "masks/visits" in entry.inputs
    assert place.emails(entry)[0] == key.pseudonym("v0@example.com")
    files = [file for file in place.state.rglob("*") if file.is_file() and "keys" not in file.parts]
    assert not [file for file in files if key.secret.hex().encode() in file.read_bytes()]
    assert not [file for file in files if key.secret in file.read_bytes()]
    assert place.ingest() == entry, "the same rows under the same key are the same entry"


def test_without_masks_nothing_is_recorded_and_no_key_is_made(place: Place) -> None:
    contract = place.project / "visits.odcs.yaml"
    contract.write_text(contract.read_text().replace(MASKED, MASK))
    entry = place.ingest()
    assert "masks" not in entry.facts
    assert not [name for name in entry.inputs if name.startswith("masks/")]
    assert not place.keys.exists()


def test_a_rotated_key_is_another_entry_with_other_pseudonyms(place: Place) -> None:
    first = place.ingest()
    LocalPseudonymKeys(place.keys, own=True).rotate("default")
    second = place.ingest()
    assert second.key != first.key
    assert {one[:3] for one in place.emails(first)} == {"p1-"}
    assert {one[:3] for one in place.emails(second)} == {"p2-"}


@pytest.mark.parametrize("loss", ["gone", "another", "older"])
def test_a_key_that_is_not_the_one_used_last_is_refused(place: Place, loss: str) -> None:
    keys = LocalPseudonymKeys(place.keys, own=True)
    if loss == "older":
        keys.rotate("default")
        keys.rotate("default")
    place.ingest()
    newest = max(place.keys.iterdir())
    kept = newest.read_text()
    newest.unlink()
    if loss == "another":
        keys.rotate("default")
    with pytest.raises(Misconfigured, match="is not the one that was used last") as caught:
        place.ingest()
    assert "Every value would get another pseudonym. Restore it" in str(caught.value)
    if loss == "another":
        newest.unlink()
    newest.touch(mode=0o600)
    newest.write_text(kept)
    place.ingest()


def test_a_lost_key_is_given_up_by_a_version_beyond_it(place: Place) -> None:
    place.ingest()
    (place.keys / "default.1.key").unlink()
    ledger = SqlLedger.open(f"sqlite:///{place.state / 'ledger.db'}", clock=lambda: datetime.now(UTC))
    made = rotate(LocalPseudonymKeys(place.keys, own=True), ledger, "default", actor="ada")
    record = ledger.head()
    ledger.close()
    assert record is not None
    assert record.body == {"pseudonyms": "rotate", "name": "default", "version": 2, "key_id": made.key_id}
    assert (record.kind, record.actor) == (RecordKind.ACCESS, "ada")
    assert {one[:3] for one in place.emails(place.ingest())} == {"p2-"}


def test_a_rotation_that_is_recorded_is_not_taken_back(place: Place) -> None:
    """Its key may have been made because the one before was known to others."""
    place.ingest()
    ledger = SqlLedger.open(f"sqlite:///{place.state / 'ledger.db'}", clock=lambda: datetime.now(UTC))
    keys = LocalPseudonymKeys(place.keys, own=True)
    made = rotate(keys, ledger, "default", actor="ada")
    (place.keys / "default.2.key").unlink()
    with pytest.raises(Misconfigured, match="is not the one that was used last"):
        place.ingest()
    again = rotate(keys, ledger, "default", actor="ada")
    ledger.close()
    assert (made.version, again.version) == (2, 3)
    assert {one[:3] for one in place.emails(place.ingest())} == {"p3-"}


def test_a_shared_installation_makes_no_key_by_itself(place: Place) -> None:
    shared = Place(project=place.project, state=place.state, own=False)
    with pytest.raises(Misconfigured) as caught:
        shared.ingest()
    assert str(caught.value) == (
        "There is no key 'default' for pseudonyms in this process. Set TOWPATH_KEYS to the folder that has it, or make "
        "it: towpath key pseudonym default."
    )
    assert not place.keys.exists()
    assert not list((place.state / "objects").rglob("*.parquet"))
