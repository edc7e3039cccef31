"""What the port promises, on SQLite and on PostgreSQL."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta, timezone

import pytest

from ledger.drafts import START, decision, entry, fill, ticking
from towpath.core import digest as digests
from towpath.core.errors import BadInput
from towpath.core.evidence import Entry, RecordKind
from towpath.ledger.sql import SqlLedger
from towpath.ports import Draft, Ledger


def test_an_empty_ledger_is_whole(ledger: SqlLedger) -> None:
    port: Ledger = ledger
    assert list(port.records()) == []
    assert ledger.head() is None
    assert port.find("nothing") is None
    verification = port.verify()
    assert (verification.records, verification.head, verification.whole) == (0, None, True)


def test_a_record_is_read_as_it_was_appended(ledger: SqlLedger) -> None:
    draft = entry(1)
    written = ledger.append(draft, actor="ada")
    assert (written.sequence, written.previous, written.actor, written.at) == (1, None, "ada", START)
    assert (written.kind, written.stage, written.key) == (RecordKind.ENTRY, "validate", draft.key)
    assert ledger.find(str(draft.key)) == ledger.head() == written
    assert list(ledger.records()) == [written]
    assert written.entry() == Entry.model_validate(draft.body)
    assert written.entry().digest == draft.digest == written.digest


def test_the_hash_covers_every_other_field(ledger: SqlLedger) -> None:
    ledger.append(entry(1), actor="ada")
    record = ledger.append(decision("k"), actor="bob")
    fields = record.model_dump(mode="json", exclude={"hash", "at", "via", "signer", "signature"})
    assert record.hash == digests.of_json({**fields, "at": "2013-01-31T05:00:01.000001Z"})


def test_each_record_follows_the_one_before(ledger: SqlLedger) -> None:
    fill(ledger, 5)
    records = list(ledger.records())
    assert [record.sequence for record in records] == [1, 2, 3, 4, 5]
    assert [record.previous for record in records] == [None, *(record.hash for record in records[:-1])]
    verification = ledger.verify()
    assert (verification.records, verification.head, verification.faults) == (5, records[-1].hash, ())


def test_a_second_draft_with_the_same_key_is_not_written(ledger: SqlLedger) -> None:
    first = ledger.append(decision("k"), actor="ada")
    ledger.append(decision("other"), actor="ada")
    again = ledger.append(decision("k", body={"decision": "REJECT"}), actor="bob")
    assert again == first
    assert ledger.verify().records == 2


def test_drafts_without_a_key_are_written_each_time(ledger: SqlLedger) -> None:
    first, second = (ledger.append(decision(None), actor="ada") for _ in range(2))
    assert (first.sequence, second.sequence) == (1, 2)
    assert first.digest == second.digest


def test_records_are_selected(ledger: SqlLedger) -> None:
    ledger.append(entry(1), actor="ada")
    ledger.append(entry(2, project="taxis", candidate="c-2"), actor="ada")
    ledger.append(decision("d", candidate="c-2"), actor="ada")

    def sequences(**by: object) -> list[int]:
        return [record.sequence for record in ledger.records(**by)]  # type: ignore[arg-type]

    assert sequences(project="delays") == [1, 3]
    assert sequences(candidate="c-2") == [2, 3]
    assert sequences(kind=RecordKind.ENTRY) == [1, 2]
    assert sequences(project="delays", candidate="c-2", kind=RecordKind.DECISION) == [3]
    assert sequences(after=1) == [2, 3]
    assert sequences(project="absent") == []


def test_pages_join_without_loss_and_a_reader_may_append(ledger: SqlLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("towpath.ledger.sql._PAGE", 3)
    fill(ledger, 7)
    seen = []
    for record in ledger.records():
        seen.append(record.sequence)
        if record.sequence == 2:
            ledger.append(decision("while reading"), actor="ada")
    assert seen == [1, 2, 3, 4, 5, 6, 7, 8]
    assert ledger.verify().records == 8


def test_a_reader_that_stops_half_way_blocks_nobody(ledger: SqlLedger) -> None:
    fill(ledger, 3)
    reader = ledger.records()
    next(reader)
    ledger.append(decision("after"), actor="ada")
    assert [record.sequence for record in reader] == [2, 3]


def test_time_is_what_the_clock_said_in_utc(url: str) -> None:
    east = timezone(timedelta(hours=5, minutes=45))
    times = [datetime(1999, 1, 1, tzinfo=east), datetime(2013, 7, 1, 1, 2, 3, 4, tzinfo=east)]
    with SqlLedger.open(url, clock=iter(times).__next__) as ledger:
        fill(ledger, 2)
        records = list(ledger.records())
        assert [record.at for record in records] == times
        assert {record.at.utcoffset() for record in records} == {timedelta(0)}
        assert ledger.verify().whole


def test_what_was_written_is_there_when_opened_again(url: str) -> None:
    with SqlLedger.open(url, clock=ticking()) as ledger:
        fill(ledger, 3)
        before = list(ledger.records())
    with SqlLedger.open(url, clock=ticking()) as ledger:
        assert list(ledger.records()) == before
        assert ledger.append(decision("next"), actor="ada").previous == before[-1].hash


def test_threads_share_a_ledger(ledger: SqlLedger) -> None:
    def append(name: int) -> None:
        for number in range(10):
            ledger.append(decision(f"{name}-{number}"), actor="ada")
            ledger.append(decision(f"shared-{number}"), actor="ada")

    threads = [threading.Thread(target=append, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    verification = ledger.verify()
    assert (verification.records, verification.faults) == (50, ())


@pytest.mark.parametrize(
    ("draft", "actor", "says"),
    [
        (decision("k"), " ", "needs an actor"),
        (decision(""), "ada", "key is empty"),
        (decision("k\x00"), "ada", "character that a database cannot hold"),
        (decision("k", project="p\ud800"), "ada", "character that a database cannot hold"),
        (_d := decision("k"), "a\x00", "character that a database cannot hold"),
        (Draft(**{**vars(_d), "digest": "sha256:" + "0" * 64}), "ada", "but its body gives"),
        (Draft(**{**vars(_d), "kind": RecordKind.ENTRY}), "ada", "a body that is no entry: "),
        (Draft(**{**vars(_d), "body": {"x": float("nan")}}), "ada", "canonical JSON"),
        (Draft(**{**vars(_d), "body": {"x": 2**53}}), "ada", "canonical JSON"),
        (Draft(**{**vars(_d), "body": {"x": "\ud800"}}), "ada", "canonical JSON"),
        (Draft(**{**vars(_d), "body": {"x": START}}), "ada", "canonical JSON"),
        (Draft(**{**vars(_d), "body": {1: "x"}}), "ada", "canonical JSON"),
    ],
)
def test_what_cannot_be_a_record_is_refused_and_nothing_written(
    ledger: SqlLedger, draft: Draft, actor: str, says: str
) -> None:
    with pytest.raises(BadInput, match=says):
        ledger.append(draft, actor=actor)
    assert ledger.verify().records == 0


@pytest.mark.parametrize("odd", ["\x00", "\ud800"])
def test_what_cannot_be_written_is_not_looked_for(ledger: SqlLedger, odd: str) -> None:
    with pytest.raises(BadInput, match="character that a database cannot hold"):
        ledger.find(odd)
    with pytest.raises(BadInput, match="character that a database cannot hold"):
        list(ledger.records(project=odd))


def test_a_clock_without_a_time_zone_is_refused(url: str) -> None:
    with SqlLedger.open(url, clock=lambda: START.replace(tzinfo=None)) as ledger:
        with pytest.raises(BadInput, match="no time zone"):
            ledger.append(decision("k"), actor="ada")
        assert ledger.verify().records == 0
