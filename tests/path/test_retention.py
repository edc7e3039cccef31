"""What nothing needs any more is removed and written down; what is held, young, or stood behind a champion stays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from towpath.adapters.keys_local import LocalKeys
from towpath.adapters.objects_local import LocalObjects
from towpath.adapters.prediction_log_places import FolderPlace
from towpath.adapters.prediction_log_retention import LogDays
from towpath.core import digest as digests
from towpath.core.errors import BadInput, Denied
from towpath.core.evidence import Candidate, Entry, RecordKind, Subject
from towpath.ledger.sql import SqlLedger
from towpath.ports import Draft
from towpath.stages import holds, retention
from towpath.stages.holds import Scope

OLD, NOW = datetime(2024, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)
LIMIT = NOW - timedelta(days=400)


@dataclass
class Clock:
    now: datetime = OLD

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


@dataclass(kw_only=True)
class House:
    ledger: SqlLedger
    objects: LocalObjects
    log: LogDays
    folder: Path
    clock: Clock = field(default_factory=Clock)

    def stored(self, text: str) -> str:
        file = self.folder / "incoming"
        file.write_text(text)
        return self.objects.put(file)

    def candidate(self, name: str, *, shares: Candidate | None = None) -> Candidate:
        """A candidate of two entries, the first shared where another is given."""
        grown = Candidate(project="delays")
        for stage in ("ingest", "train"):
            if shares is not None and stage == "ingest":
                grown = grown.append(shares.entries[0])
                continue
            subjects = (
                Subject(kind="dataset", name=name, digest=self.stored(f"{name} {stage}"), size=10),
                Subject(kind="contract", name=name, digest=self.stored("contract")),
            )
            key = digests.of_json([name, stage])
            entry = Entry(stage=stage, project="delays", key=key, previous=grown.digest, inputs={}, subjects=subjects)
            grown = grown.append(entry)
            self.append(RecordKind.ENTRY, grown.id, stage, entry.digest, entry.model_dump(mode="json"), key=key)
        return grown

    def append(
        self, kind: RecordKind, candidate: str, stage: str, digest: str, body: object, *, key: str | None = None
    ) -> None:
        draft = Draft(
            kind=kind,
            project="delays",
            candidate=candidate,
            stage=stage,
            key=key,
            digest=digest,
            body=body,  # type: ignore[arg-type]
        )
        self.ledger.append(draft, actor="ada")

    def crown(self, candidate: Candidate) -> None:
        body = {"verdict": "PROMOTE", "digest": candidate.digest, "model": None}
        self.append(RecordKind.DECISION, candidate.id, "promote", digests.of_json(body), body)

    def objects_of(self, candidate: Candidate) -> list[bool]:
        return [
            self.objects.has(subject.digest)
            for entry in candidate.entries
            for subject in entry.subjects
            if subject.kind == "dataset"
        ]

    def apply(self) -> list[str]:
        records = retention.apply(self.ledger, self.objects, self.log, before=LIMIT, actor="root")
        return [str(record.body["subject"]) for record in records]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    clock = Clock()
    keys = LocalKeys(tmp_path / "keys")
    keys.ensure(at=OLD)
    with SqlLedger.open(f"sqlite:///{tmp_path / 'ledger.db'}", clock=clock, keys=keys) as ledger:
        yield House(
            ledger=ledger,
            objects=LocalObjects(tmp_path / "objects"),
            log=LogDays(FolderPlace(tmp_path / "log")),
            folder=tmp_path,
            clock=clock,
        )


def _logged(folder: Path, day: str) -> Path:
    file = folder / "log/delays/predictions-1" / day / "worker-1.parquet"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"x")
    return file


def test_only_what_nothing_needs_goes_and_each_has_its_record(house: House) -> None:
    champion, refused = house.candidate("champion"), house.candidate("refused")
    sharing = house.candidate("sharing", shares=champion)
    house.crown(champion)
    house.clock.now = NOW
    young = house.candidate("young")
    before = [record.hash for record in house.ledger.records()]
    planned = retention.plan(house.ledger, house.objects, house.log, before=LIMIT)
    assert [record.hash for record in house.ledger.records()] == before
    gone = house.apply()
    assert gone == [removal.subject for removal in planned.removals]
    assert house.objects_of(refused) == [False, False]
    assert house.objects_of(sharing) == [True, False]
    assert (house.objects_of(champion), house.objects_of(young)) == ([True, True], [True, True])
    assert house.objects.has(refused.entries[0].subject("contract").digest)
    assert house.ledger.verify().whole
    assert [record.hash for record in house.ledger.records()][: len(before)] == before
    known = retention.removed(house.ledger.records())
    assert set(known) == set(gone)
    assert {record.actor for record in known.values()} == {"root"}
    assert house.apply() == []


@pytest.mark.parametrize("scope", list(Scope))
def test_what_is_held_stays_until_it_is_released(house: House, scope: Scope) -> None:
    held, other = house.candidate("held"), house.candidate("other")
    house.clock.now = NOW
    named = held if scope is Scope.CANDIDATE else None
    holds.place(house.ledger, "delays", named, reason="an inquiry of somebody", actor="eva")
    house.apply()
    assert house.objects_of(held) == [True, True]
    assert house.objects_of(other) == [scope is Scope.PROJECT] * 2
    with pytest.raises(Denied, match="eva placed that hold"):
        holds.place(house.ledger, "delays", named, reason="once more please", actor="eva")
    holds.release(house.ledger, "delays", named, reason="the inquiry is closed", actor="eva")
    assert holds.standing(house.ledger.records()) == ()
    house.apply()
    assert house.objects_of(held) == [False, False]
    with pytest.raises(BadInput, match="no hold"):
        holds.release(house.ledger, "delays", named, reason="once more please", actor="eva")
    with pytest.raises(Denied, match="needs a reason"):
        holds.place(house.ledger, "delays", named, reason="why", actor="eva")


def test_a_hold_that_is_placed_meanwhile_is_heard(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = house.candidate("refused")
    house.clock.now = NOW
    remove: Callable[[str], bool] = house.objects.remove

    def removing(digest: str) -> bool:
        if not holds.standing(house.ledger.records()):
            holds.place(house.ledger, "delays", None, reason="an inquiry of somebody", actor="eva")
        return remove(digest)

    monkeypatch.setattr(house.objects, "remove", removing)
    assert len(house.apply()) == 1
    assert house.objects_of(refused) == [False, True]


def test_old_days_of_the_log_go_and_those_of_a_held_project_stay(house: House) -> None:
    house.crown(house.candidate("champion"))
    files = {day: _logged(house.folder, day) for day in ("2024-01-02", "2024-11-27", "2025-12-31")}
    house.clock.now = NOW
    holds.place(house.ledger, "delays", None, reason="an inquiry of somebody", actor="eva")
    assert house.apply() == []
    holds.release(house.ledger, "delays", None, reason="the inquiry is closed", actor="eva")
    assert house.apply() == ["2024-01-02"]
    assert [day for day, file in files.items() if file.exists()] == ["2024-11-27", "2025-12-31"]
    assert set(retention.removed(house.ledger.records())) == {"delays/2024-01-02"}
