"""Keys as files: they sign, are trusted by id, rotate, are revoked, and are refused when others can read them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from towpath.adapters.keys_local import LocalKeys, key_id_of
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
    file = keys.private(Purpose.LEDGER)
    assert file.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700
    file.chmod(0o640)
    with pytest.raises(Misconfigured, match="can be read by others"):
        LocalKeys(tmp_path / "keys").sign(Purpose.LEDGER, b"text")


def test_without_its_private_key_a_process_verifies_and_does_not_sign(keys: LocalKeys, tmp_path: Path) -> None:
    key_id, signature = keys.sign(Purpose.LEDGER, b"text")
    keys.private(Purpose.LEDGER).unlink()
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


def test_a_keys_id_is_that_of_its_der_form(keys: LocalKeys) -> None:
    for purpose in Purpose:
        for key_id, key in keys.trusted(purpose).items():
            der = serialization.load_pem_public_key(key.pem.encode()).public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            assert key_id == key_id_of(key.pem) == sha256(der).hexdigest()[:32]


@pytest.mark.parametrize(
    "changed",
    [
        lambda pem, other: other + pem,  # libraries take the first block, or skip what is before one
        lambda pem, other: "about this key\n" + pem,
        lambda pem, other: pem.replace("\n", "\r\n"),
        lambda pem, other: pem.rstrip("\n"),
        lambda pem, other: pem.replace("PUBLIC KEY", "CERTIFICATE"),
        lambda pem, other: "",
    ],
)
def test_a_key_in_pem_that_two_readers_could_read_as_two_keys(
    keys: LocalKeys, tmp_path: Path, changed: Callable[[str, str], str]
) -> None:
    key_id = keys.key_id(Purpose.MODEL)
    other = next(iter(keys.trusted(Purpose.LEDGER).values())).pem
    file = tmp_path / "keys" / "trusted" / f"{key_id}.json"
    value = json.loads(file.read_text())
    file.write_text(json.dumps({**value, "pem": changed(value["pem"], other)}))
    with pytest.raises(IntegrityError, match="holds no trusted key"):
        LocalKeys(tmp_path / "keys").trusted(Purpose.MODEL)


@pytest.mark.parametrize("purpose", Purpose)
def test_a_key_of_another_kind_than_its_purpose_has(keys: LocalKeys, tmp_path: Path, purpose: Purpose) -> None:
    key_id, signature = keys.sign(purpose, b"text")
    file = tmp_path / "keys" / "trusted" / f"{key_id}.json"
    other = next(item for item in Purpose if item is not purpose)
    file.write_text(json.dumps({**json.loads(file.read_text()), "purpose": other.value}))
    with pytest.raises(IntegrityError, match=f"A trusted {other} key is of another kind"):
        LocalKeys(tmp_path / "keys").verifies(other, key_id, b"text", signature)


def test_a_key_that_is_only_its_name(tmp_path: Path) -> None:
    der = b"no key at all"
    pem = f"-----BEGIN PUBLIC KEY-----\n{base64.b64encode(der).decode()}\n-----END PUBLIC KEY-----\n"
    key_id = sha256(der).hexdigest()[:32]
    (tmp_path / "trusted").mkdir()
    key = {"key_id": key_id, "purpose": "model", "pem": pem, "added_at": NOW.isoformat()}
    (tmp_path / "trusted" / f"{key_id}.json").write_text(json.dumps(key))
    with pytest.raises(IntegrityError, match="A trusted model key is none"):
        LocalKeys(tmp_path).verifies(Purpose.MODEL, key_id, b"text", b"signature")
