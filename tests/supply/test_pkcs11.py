"""A model key on a token, by SoftHSM: it signs and attests what loads, rotates, is revoked, and its faults are said."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from supply.house import House
from towpath import wiring
from towpath.cli import run as towpath
from towpath.core.errors import BadInput, IntegrityError, Misconfigured
from towpath.core.evidence import RecordKind
from towpath.ports import Keys, Purpose
from towpath.settings import Settings
from towpath.stages.attested import require_attested

PIN = "48151623"
MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
)
MODULE = next(filter(os.path.exists, MODULES), MODULES[0])
Ask = Callable[..., tuple[int, Any]]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("softhsm2-util") is None, reason="SoftHSM is not installed: apt install softhsm2"),
]


@pytest.fixture(scope="module")
def softhsm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A token `models` with the keys one, two, and twice of the name double; one of P-384, one of RSA."""
    folder = tmp_path_factory.mktemp("softhsm")
    (folder / "tokens").mkdir()
    (folder / "conf").write_text(f"directories.tokendir = {folder / 'tokens'}\nlog.level = ERROR\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(folder / "conf"))
        _softhsm("--init-token", "--free", "--label", "models", "--pin", PIN, "--so-pin", "987654")
        made = [("one", "01"), ("two", "02"), ("double", "03"), ("double", "04")]
        for name, number in made:
            _imported(folder, name, number, ec.generate_private_key(ec.SECP256R1()))
        _imported(folder, "wide", "05", ec.generate_private_key(ec.SECP384R1()))
        _imported(folder, "rsa", "06", rsa.generate_private_key(public_exponent=65537, key_size=2048))
        yield folder


def _imported(folder: Path, name: str, number: str, key: Any) -> None:
    file = folder / "key.pem"
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    file.write_bytes(key.private_bytes(encoding, form, serialization.NoEncryption()))
    _softhsm("--import", str(file), "--token", "models", "--label", name, "--id", number, "--pin", PIN)
    file.unlink()


def _softhsm(*arguments: str) -> None:
    subprocess.run(["softhsm2-util", *arguments], check=True, capture_output=True, timeout=60)


def uri(name: str = "object=one", *, token: str = "token=models", module: str = MODULE) -> str:
    return f"pkcs11:{token};{name}?module-path={module}"


def keys(state: Path, key: str, *, pin: str | None = PIN) -> Keys:
    given = {"TOWPATH_STATE": str(state), "TOWPATH_MODEL_KEY": key} | ({"TOWPATH_MODEL_PIN": pin} if pin else {})
    return wiring.open_keys(Settings.read(given, folder=state))


@pytest.fixture
def ask(softhsm: Path, house: House, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Ask:
    """Runs a command with the key of a name; its exit code and its JSON. The PIN is in nothing that it writes."""
    monkeypatch.setenv("TOWPATH_STATE", str(house.state))
    monkeypatch.setenv("TOWPATH_ACTOR", "Ada Lovelace")
    monkeypatch.setenv("TOWPATH_MODEL_PIN", PIN)
    monkeypatch.setattr(wiring, "open_models", lambda _: house.world.models)

    def run(key: str, *arguments: str) -> tuple[int, Any]:
        monkeypatch.setenv("TOWPATH_MODEL_KEY", uri(f"object={key}"))
        capfd.readouterr()
        code = towpath([*arguments, "--json"])
        written = capfd.readouterr()
        assert PIN not in written.out + written.err
        return code, json.loads(written.out)

    return run


def test_a_model_is_signed_on_the_token_and_verified_without_it(house: House, ask: Ask) -> None:
    code, refused = ask("one", "model", "attest", house.candidate.id)
    assert code != 0
    assert "nobody trusts" in refused["error"]["message"]
    before = house.keys.key_id(Purpose.MODEL)
    code, made = ask("one", "key", "rotate", "model")
    assert code == 0
    assert [row["key_id"] for row in ask("one", "key", "list")[1] if row["signs"] and row["purpose"] == "model"] == [
        made["key_id"]
    ]
    code, attested = ask("one", "model", "attest", house.candidate.id)
    assert (code, attested["key"]) == (0, made["key_id"])

    found = require_attested(house.world.ledger, house.keys, house.candidate)  # keys of a process that has no token
    assert found.key_id == made["key_id"]
    house.load().close()
    assert ask("nowhere", "model", "verify", house.candidate.id)[0] == 0
    (record,) = [one for one in house.world.ledger.records(kind=RecordKind.ACCESS) if "key" in one.body]
    assert (record.body["key_id"], record.body["before"], record.actor) == (made["key_id"], before, "Ada Lovelace")

    code, again = ask("one", "key", "rotate", "model")
    assert (code, "known already" in again["error"]["message"]) == (2, True)


def test_a_key_of_the_token_is_rotated_and_revoked(house: House, ask: Ask) -> None:
    one = ask("one", "key", "rotate", "model")[1]["key_id"]
    ask("one", "model", "attest", house.candidate.id)
    file = str(house.keys.key_id(Purpose.MODEL))
    assert ask("one", "key", "revoke", file, "--reason", "keys are on tokens now")[0] == 0
    assert ask("one", "key", "revoke", one, "--reason", "a stolen token")[0] == 2  # it signs now
    two = ask("two", "key", "rotate", "model")[1]["key_id"]
    house.load().close()  # what a rotated key signed stays good
    assert ask("two", "key", "revoke", one, "--reason", "a stolen token")[0] == 0
    with pytest.raises(IntegrityError, match="was revoked"):
        house.load()
    code, refused = ask("one", "model", "attest", house.candidate.id)
    assert code != 0
    assert "was revoked" in refused["error"]["message"]
    code, attested = ask("two", "model", "attest", house.candidate.id)
    assert (code, attested["key"]) == (0, two)
    assert ask("two", "model", "verify", house.candidate.id)[0] == 0
    house.load().close()
    assert house.world.ledger.verify().whole


def test_what_the_token_signs_is_what_a_file_signs(softhsm: Path, house: House) -> None:
    found = keys(house.state, uri("id=%02"))
    made = found.rotate(Purpose.MODEL, at=wiring.now())
    key_id, signature = found.sign(Purpose.MODEL, b"text")
    public = serialization.load_pem_public_key(made.pem.encode())
    assert isinstance(public, ec.EllipticCurvePublicKey)
    assert key_id == made.key_id == found.key_id(Purpose.MODEL)
    assert house.keys.verifies(Purpose.MODEL, key_id, b"text", signature)
    assert not house.keys.verifies(Purpose.MODEL, key_id, b"text.", signature)
    assert found.key_id(Purpose.LEDGER) == house.keys.key_id(Purpose.LEDGER)


def test_nothing_is_asked_of_a_token_that_is_not_there_but_to_sign(house: House) -> None:
    """Whoever serves has no module, no token and no PIN."""
    house.attest()
    found = keys(house.state, uri(module="/nowhere.so"), pin=None)
    assert require_attested(house.world.ledger, found, house.candidate).candidate == house.candidate.id
    with pytest.raises(Misconfigured, match="There is no PIN"):
        found.sign(Purpose.MODEL, b"text")


def test_a_new_installation_makes_no_model_key_beside_the_tokens(softhsm: Path, tmp_path: Path) -> None:
    found = keys(tmp_path / "state", uri())
    assert (len(found.trusted(Purpose.LEDGER)), len(found.trusted(Purpose.MODEL))) == (1, 0)
    with pytest.raises(Misconfigured, match="nobody trusts"):
        found.private(Purpose.MODEL)
    assert found.rotate(Purpose.MODEL, at=wiring.now()).key_id in found.trusted(Purpose.MODEL)
    assert not (tmp_path / "state" / "keys" / "model.key").exists()
    with pytest.raises(BadInput, match="known already"):
        found.rotate(Purpose.MODEL, at=wiring.now())


@pytest.mark.parametrize(
    ("key", "pin", "why"),
    [
        (uri(module="/nowhere.so"), PIN, "there is no PKCS #11 module /nowhere.so"),
        (uri(module="/etc/passwd"), PIN, "no PKCS #11 module that can be loaded"),
        (uri(token="token=other"), PIN, "no token is called that"),
        (uri(), "00000000", "the PIN is wrong"),
        (uri(), "1", "the PIN is wrong"),
        (uri("object=three"), PIN, "no private key is called that"),
        (uri("object=one;id=%02"), PIN, "no private key is called that"),
        (uri("object=double"), PIN, "more than one private key is called that"),
        (uri("object=wide"), PIN, "not of the curve P-256"),
        (uri("object=rsa"), PIN, "not of the curve P-256"),
    ],
)
def test_what_is_not_there_or_not_right_is_said(softhsm: Path, tmp_path: Path, key: str, pin: str, why: str) -> None:
    found = keys(tmp_path / "state", key, pin=pin)
    with pytest.raises(Misconfigured, match=why) as refused:
        found.sign(Purpose.MODEL, b"text")
    assert refused.value.hint
    told = repr(refused.value.__dict__) + str(refused.value)
    assert PIN not in told
    if len(pin) > 1:
        assert pin not in told
    if "called" in why and "token" not in why:
        assert "one" in refused.value.valid
