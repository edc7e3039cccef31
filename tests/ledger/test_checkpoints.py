"""What a chain cannot show by itself, checkpoints do: a cut end, an end written anew, and a whole ledger of another."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from sqlalchemy import Connection, text

from ledger.conftest import Raw
from ledger.drafts import START, decision, fill, ticking
from towpath.adapters.keys_local import LocalKeys
from towpath.core import digest as digests
from towpath.core.errors import BadInput, Denied, IntegrityError, Misconfigured
from towpath.core.tampering import Tampering
from towpath.ledger import checkpoints
from towpath.ledger.checkpoints import Checkpoint, checkpoint_of
from towpath.ledger.sql import SqlLedger
from towpath.ports import Fault, Purpose

YEAR = timedelta(days=365)


@pytest.fixture
def keys(tmp_path: Path) -> LocalKeys:
    made = LocalKeys(tmp_path / "keys")
    made.ensure(at=START)
    return made


@pytest.fixture
def noted(tmp_path: Path) -> Path:
    return tmp_path / "keys/checkpoints/ledger.txt"


@pytest.fixture
def ledger(url: str, keys: LocalKeys, noted: Path) -> Iterator[SqlLedger]:
    with SqlLedger.open(url, clock=ticking(), keys=keys, noted=noted) as opened:
        yield opened


@pytest.fixture
def tamper(ledger: SqlLedger, raw: Raw) -> Iterator[Connection]:
    """A connection to a signed ledger of six records whose triggers are gone."""
    fill(ledger, 6)
    with raw() as connection:
        table = " ON towpath_records" if connection.dialect.name == "postgresql" else ""
        for what in ("insert", "update", "delete"):
            connection.execute(text(f"DROP TRIGGER towpath_records_{what}{table}"))
        connection.commit()
        yield connection


def _verdict(ledger: SqlLedger) -> tuple[Tampering | None, int] | None:
    found = ledger.verify().verdict
    return (found.kind, found.sequence) if found is not None else None


def test_a_checkpoint_is_noted_behind_every_decision(ledger: SqlLedger, keys: LocalKeys, noted: Path) -> None:
    fill(ledger, 1)
    assert not noted.exists()
    fill(ledger, 2)
    records = list(ledger.records())
    assert checkpoints.read(noted.read_text(), keys) == checkpoint_of(records[0], records[1])
    assert ledger.verify().whole


def test_anyone_with_signed_notes_verifies_one(ledger: SqlLedger, keys: LocalKeys, noted: Path) -> None:
    fill(ledger, 2)
    body, _, signature = noted.read_text().partition("\n\n")
    origin, size, head, at = body.split("\n")
    first, last = ledger.records()
    assert (size, base64.b64decode(head).hex()) == ("2", last.hash.removeprefix("sha256:"))
    assert origin.endswith(first.hash.removeprefix("sha256:")[:32])
    assert at.startswith("at 2013-01-31T05:00:01")
    dash, name, encoded = signature.rstrip("\n").split(" ")
    (key,) = keys.trusted(Purpose.LEDGER).values()
    public = load_pem_public_key(key.pem.encode())
    bytes_ = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    blob = base64.b64decode(encoded)
    assert dash == "—"
    assert blob[:4] == sha256(name.encode() + b"\n\x01" + bytes_).digest()[:4]
    public.verify(blob[4:], (body + "\n").encode())  # type: ignore[union-attr,call-arg]


def test_a_cut_end(ledger: SqlLedger, tamper: Connection) -> None:
    tamper.execute(text("DELETE FROM towpath_records WHERE sequence > 4"))
    tamper.commit()
    assert _verdict(ledger) == (Tampering.TRUNCATED, 5)


def test_everything_cut_off(ledger: SqlLedger, tamper: Connection) -> None:
    tamper.execute(text("DELETE FROM towpath_records"))
    tamper.commit()
    assert _verdict(ledger) == (Tampering.TRUNCATED, 1)


def test_a_cut_end_that_others_continued(ledger: SqlLedger, tamper: Connection, url: str, keys: LocalKeys) -> None:
    tamper.execute(text("DELETE FROM towpath_records WHERE sequence > 4"))
    tamper.commit()
    with SqlLedger.open(url, clock=lambda: START + YEAR, keys=keys) as another:
        for number in range(4):
            another.append(decision(f"later-{number}"), actor="ada")
        assert another.verify().whole  # without the checkpoint nothing shows
    assert _verdict(ledger) == (Tampering.TRUNCATED, 5)
    assert "others were written in their stead" in str(ledger.verify().verdict)


def test_a_ledger_rewritten_from_its_first_record_as_of_before_there_were_keys(
    ledger: SqlLedger, tamper: Connection, url: str
) -> None:
    tamper.execute(text("DELETE FROM towpath_records"))
    tamper.commit()
    with SqlLedger.open(url, clock=ticking()) as another:
        for number in range(6):
            another.append(decision(f"other-{number}"), actor="eve")
        assert another.verify().whole
    assert _verdict(ledger) == (Tampering.REWRITTEN, 1)


def test_unsigned_records_later_than_the_first_key(url: str, keys: LocalKeys, noted: Path) -> None:
    with SqlLedger.open(url, clock=lambda: START + YEAR) as unsigned:
        fill(unsigned, 2)
    with SqlLedger.open(url, clock=ticking(), keys=keys) as ledger:
        assert _verdict(ledger) == (Tampering.FORGED, 1)


def test_older_records_have_no_signature_and_stay_valid(url: str, keys: LocalKeys) -> None:
    with SqlLedger.open(url, clock=lambda: START) as old:
        fill(old, 2)
    with SqlLedger.open(url, clock=ticking(), keys=keys, via="token:1 (ada)") as ledger:
        fill(ledger, 4)
        found = ledger.verify()
        assert (found.whole, found.records, found.signed) == (True, 4, 2)
        assert [record.via for record in ledger.records()] == [None, None, "token:1 (ada)", "token:1 (ada)"]
    with SqlLedger.open(url, clock=ticking()) as keyless, pytest.raises(Misconfigured, match="TOWPATH_KEYS"):
        keyless.append(decision("k"), actor="ada")


def test_a_process_without_the_private_key_only_reads(url: str, keys: LocalKeys, tmp_path: Path) -> None:
    with SqlLedger.open(url, clock=ticking(), keys=keys) as ledger:
        fill(ledger, 2)
    (tmp_path / "keys/ledger.key").unlink()
    with SqlLedger.open(url, clock=ticking(), keys=LocalKeys(tmp_path / "keys")) as reader:
        assert reader.verify().whole
        with pytest.raises(Misconfigured, match="has no ledger key"):
            reader.append(decision("k"), actor="ada")
        assert reader.verify().records == 2


def test_another_installations_keys_write_nothing(url: str, keys: LocalKeys, tmp_path: Path) -> None:
    with SqlLedger.open(url, clock=ticking(), keys=keys) as ledger:
        fill(ledger, 1)
    others = LocalKeys(tmp_path / "others")
    others.ensure(at=START)
    with SqlLedger.open(url, clock=ticking(), keys=others) as stranger:
        with pytest.raises(Misconfigured, match="does not trust"):
            stranger.append(decision("k"), actor="eve")
        assert _verdict(stranger) == (Tampering.FORGED, 1)


def test_a_rotated_key_and_a_revoked_one(ledger: SqlLedger, keys: LocalKeys) -> None:
    fill(ledger, 2)
    (old,) = keys.trusted(Purpose.LEDGER)
    keys.rotate(Purpose.LEDGER, at=START)
    fill(ledger, 4)
    assert ledger.verify().signed == 4
    keys.revoke(old, at=START, after=2, reason="left on a train")
    assert ledger.verify().whole
    assert {record.signer == old for record in ledger.records(after=2)} == {False}


def test_what_a_key_signed_behind_its_revocation_counts_for_nothing(ledger: SqlLedger, keys: LocalKeys) -> None:
    fill(ledger, 4)
    (key,) = keys.trusted(Purpose.LEDGER)
    keys.revoke(key, at=START, after=3, reason="left on a train")
    found = ledger.verify().verdict
    assert found is not None
    assert (found.kind, found.sequence) == (Tampering.FORGED, 4)
    assert "revoked after record 3" in found.what


def test_a_clock_that_is_behind(url: str, keys: LocalKeys) -> None:
    times = iter([START, START - timedelta(seconds=60), START - timedelta(seconds=61), START + timedelta(seconds=1)])
    with SqlLedger.open(url, clock=lambda: next(times), keys=keys) as ledger:
        ledger.append(decision("a"), actor="ada")
        assert ledger.append(decision("b"), actor="ada").at == START
        with pytest.raises(Denied, match="clock is behind the record"):
            ledger.append(decision("c"), actor="ada")
        assert ledger.append(decision("d"), actor="ada").at == START + timedelta(seconds=1)
        assert ledger.verify().records == 3


def test_what_was_whole_is_trusted_for_a_while_and_no_longer(ledger: SqlLedger, tamper: Connection) -> None:
    assert ledger.verify(trusting=YEAR).whole
    tamper.execute(text("UPDATE towpath_records SET actor = 'eve' WHERE sequence = 2"))
    tamper.commit()
    assert ledger.verify(trusting=YEAR).whole
    assert not ledger.verify(trusting=timedelta(0)).whole
    assert not ledger.verify().whole


def test_what_is_behind_is_looked_at_always(ledger: SqlLedger, tamper: Connection, url: str, keys: LocalKeys) -> None:
    assert ledger.verify().records == 6
    with SqlLedger.open(url, clock=lambda: START + YEAR, keys=keys) as another:
        another.append(decision("later"), actor="ada")
    found = ledger.verify(trusting=YEAR)
    assert (found.whole, found.records, found.signed) == (True, 7, 7)
    tamper.execute(text("UPDATE towpath_records SET actor = 'eve' WHERE sequence = 7"))
    tamper.commit()
    assert _kind(ledger.verify(trusting=YEAR).verdict) == (Tampering.FORGED_ACTOR, 7)
    tamper.execute(text("DELETE FROM towpath_records WHERE sequence > 5"))
    tamper.commit()
    assert _kind(ledger.verify(trusting=YEAR).verdict) == (Tampering.TRUNCATED, 6)


def _kind(fault: Fault | None) -> tuple[Tampering | None, int] | None:
    return (fault.kind, fault.sequence) if fault is not None else None


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("change", ["1000", "no note", ""])
def test_a_noted_checkpoint_that_somebody_changed(ledger: SqlLedger, noted: Path, change: str) -> None:
    fill(ledger, 2)
    noted.write_text(noted.read_text().replace("\n2\n", f"\n{change}\n") if change == "1000" else change)
    for _ in range(2):
        found = ledger.verify()
        assert not found.whole
        assert "no checkpoint that a trusted key signed" in str(found.verdict and found.verdict.what)
        fill(ledger, 4)  # what is there is left as it is, for whoever asks


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_a_checkpoint_of_a_strangers_key(ledger: SqlLedger, keys: LocalKeys, tmp_path: Path) -> None:
    others = LocalKeys(tmp_path / "others")
    others.ensure(at=START)
    note = checkpoints.write(
        Checkpoint(origin="towpath.dev/ledger/x", size=1, head=digests.of_bytes(b""), at="2013"), others
    )
    assert checkpoints.read(note, others).size == 1
    with pytest.raises(IntegrityError, match="not signed by a trusted key"):
        checkpoints.read(note, keys)
    with pytest.raises(BadInput, match="no checkpoint"):
        checkpoints.read("hello", keys)


def test_a_view_speaks_for_another_and_shares_the_connections(ledger: SqlLedger) -> None:
    view = ledger.speaking("oidc:7 (grace@example.com)")
    assert view.append(decision("a"), actor="Grace Hopper").via == "oidc:7 (grace@example.com)"
    view.close()
    assert ledger.append(decision("b"), actor="ada").via is None
    assert view.verify(trusting=YEAR).signed == 2
