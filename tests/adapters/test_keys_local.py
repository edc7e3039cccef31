"""Keys as files: they sign, are trusted by id, rotate, are revoked, and are refused when others can read them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from towpath.adapters.keys_local import LocalKeys
from towpath.core.errors import BadInput, IntegrityError, Misconfigured, NotFound
from towpath.ports import Purpose

NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def keys(tmp_path: Path) -> LocalKeys:
    found = LocalKeys(tmp_path / "keys")
    found.ensure(at=NOW)
    return found


@pytest.mark.parametrize("purpose", Purpose)
def test_what_a_key_signed_verifies_and_nothing_else_does(keys: LocalKeys, purpose: Purpose) -> None:
    key_id, signature = keys.sign(purpose, b"text")
    other = next(item for item in Purpose if item is not purpose)
    assert key_id == keys.key_id(purpose)
    assert keys.verifies(purpose, key_id, b"text", signature)
    assert not keys.verifies(purpose, key_id, b"text.", signature)
    assert not keys.verifies(purpose, key_id, b"text", signature[:-1] + bytes([signature[-1] ^ 1]))
    assert not keys.verifies(purpose, "0" * 32, b"text", signature)
    assert not keys.verifies(other, key_id, b"text", signature)


def test_a_rotated_key_stays_trusted_for_what_it_signed(keys: LocalKeys) -> None:
    old, signature = keys.sign(Purpose.LEDGER, b"text")
    new = keys.rotate(Purpose.LEDGER, at=NOW)
    assert keys.sign(Purpose.LEDGER, b"text")[0] == new.key_id != old
    assert keys.verifies(Purpose.LEDGER, old, b"text", signature)
    assert set(keys.trusted(Purpose.LEDGER)) == {old, new.key_id}


def test_another_process_sees_a_rotation_and_a_revocation(keys: LocalKeys, tmp_path: Path) -> None:
    other = LocalKeys(tmp_path / "keys")
    old = other.key_id(Purpose.MODEL)
    assert old is not None
    new = keys.rotate(Purpose.MODEL, at=NOW)
    keys.revoke(old, at=NOW, after=7, reason="stolen")
    assert other.key_id(Purpose.MODEL) == new.key_id
    found = other.trusted(Purpose.MODEL)[old]
    assert (found.revoked_after, found.reason) == (7, "stolen")
    with pytest.raises(BadInput, match="was revoked"):
        other.revoke(old, at=NOW, after=7, reason="again")
    with pytest.raises(NotFound, match="There is no key"):
        other.revoke("0" * 32, at=NOW, after=7, reason="unknown")


def test_private_keys_are_their_owners_alone(keys: LocalKeys, tmp_path: Path) -> None:
    file = keys.private_file(Purpose.LEDGER)
    assert file.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700
    file.chmod(0o640)
    with pytest.raises(Misconfigured, match="can be read by others"):
        LocalKeys(tmp_path / "keys").sign(Purpose.LEDGER, b"text")


def test_without_its_private_key_a_process_verifies_and_does_not_sign(keys: LocalKeys, tmp_path: Path) -> None:
    key_id, signature = keys.sign(Purpose.LEDGER, b"text")
    keys.private_file(Purpose.LEDGER).unlink()
    reader = LocalKeys(tmp_path / "keys")
    reader.ensure(at=NOW)  # a key is trusted already: none is made
    assert reader.key_id(Purpose.LEDGER) is None
    assert reader.verifies(Purpose.LEDGER, key_id, b"text", signature)
    with pytest.raises(Misconfigured, match="has no ledger key"):
        reader.sign(Purpose.LEDGER, b"text")


def test_a_key_under_anothers_name_is_an_incident(keys: LocalKeys, tmp_path: Path) -> None:
    key_id = keys.key_id(Purpose.LEDGER)
    file = tmp_path / "keys" / "trusted" / f"{key_id}.json"
    (tmp_path / "evil").mkdir()
    evil = LocalKeys(tmp_path / "evil")
    stranger = evil.rotate(Purpose.LEDGER, at=NOW)
    file.write_text(json.dumps({**json.loads(file.read_text()), "pem": stranger.pem}))
    with pytest.raises(IntegrityError, match="another key than its name says"):
        LocalKeys(tmp_path / "keys").trusted(Purpose.LEDGER)
    file.write_text("{}")
    with pytest.raises(IntegrityError, match="holds no trusted key"):
        LocalKeys(tmp_path / "keys").trusted(Purpose.LEDGER)
