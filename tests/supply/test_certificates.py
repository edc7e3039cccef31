"""A model key whose certificate an authority vouches for: what loads, what does not, renewal, revocation and expiry."""

from __future__ import annotations

import base64
import json
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from supply.authority import SERVER, Authority, chained, fingerprint, p256, pem
from supply.house import House
from supply.test_pkcs11 import PIN, uri
from towpath import wiring
from towpath.cli import run as towpath
from towpath.core.errors import BadInput, IntegrityError, Misconfigured
from towpath.core.evidence import Record, RecordKind
from towpath.core.statement import claims
from towpath.ledger import chain
from towpath.ports import Certified, Purpose
from towpath.settings import Settings
from towpath.stages import attest as attesting
from towpath.stages import keys as keyring
from towpath.stages.attest import verify_files
from towpath.stages.attested import attestations, require_attested

pytestmark = pytest.mark.slow
Ask = Callable[..., tuple[int, Any]]


@pytest.fixture(scope="module")
def acme() -> Authority:
    return Authority.root("Acme Models Root")


def trusting(house: House, *roots: Authority) -> Path:
    """A trust file that names these authorities; in a folder that no gateway can mistake for that of the keys."""
    folder = house.state.parent / "trust"
    folder.mkdir(exist_ok=True)
    names = [root.write(folder / f"{number}.pem").name for number, root in enumerate(roots)]
    (folder / "trust.yaml").write_text(json.dumps({"authorities": names}))
    return folder / "trust.yaml"


def signing(house: House, authority: Authority, **options: Any) -> x509.Certificate:
    """The house's model key is a new one, which that authority certifies."""
    key = p256()
    certificate = authority.certify(key.public_key(), **options)
    installed(house, key, certificate, *authority.above)
    return certificate


def installed(house: House, key: ec.EllipticCurvePrivateKey, *chain: x509.Certificate) -> None:
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    file = house.state / "keys" / "model.key"
    file.write_bytes(key.private_bytes(encoding, form, serialization.NoEncryption()))
    file.chmod(0o600)
    (file.with_suffix(".crt")).write_bytes(chained(*chain))


def opened(house: House, trust: Path | None, **given: str) -> House:
    """The house of a process with these settings, as the wiring opens it."""
    settings = Settings.read(
        {"TOWPATH_STATE": str(house.state), **({"TOWPATH_MODEL_TRUST": str(trust)} if trust else {}), **given},
        folder=house.state,
    )
    return replace(house, world=replace(house.world, keys=wiring.open_keys(settings)))


def served(house: House, trust: Path | None) -> House:
    """The house of a gateway: it has what is trusted, and no key and no certificate."""
    for name in ("model.key", "model.crt"):
        (house.state / "keys" / name).unlink(missing_ok=True)
    return opened(house, trust)


def signed(house: House) -> attesting.Signed:
    """The candidate's files, signed by whoever signs models there."""
    with attesting.fetched(house.candidate, house.world) as (saved, compiled):
        return attesting.sign(saved, compiled, house.world)


def test_a_gateway_that_trusts_the_authority_loads_what_it_certifies(bare: House, acme: Authority) -> None:
    middle = acme.below("Acme Models Issuing")
    certificate = signing(bare, middle)
    trust = trusting(bare, acme)
    opened(bare, trust).attest()
    gateway = served(bare, trust)
    found = require_attested(gateway.world.ledger, gateway.world.keys, gateway.candidate)
    assert isinstance(found.signatory, Certified)
    assert (found.key_id, found.signatory.subject) == (fingerprint(certificate)[:32], "CN=releases")
    gateway.load().close()
    verify_files(gateway.candidate, gateway.world)
    (record,) = gateway.world.ledger.records(candidate=gateway.candidate.id, kind=RecordKind.ATTESTATION)
    listed: Any = record.body["verification_material"]
    assert [base64.b64decode(one["rawBytes"]) for one in listed["x509CertificateChain"]["certificates"]] == [
        one.public_bytes(serialization.Encoding.DER) for one in (certificate, middle.certificate)
    ]
    assert gateway.world.ledger.verify().whole


def test_a_renewed_certificate_is_known_to_gateways_at_once_and_the_old_one_still_counts(
    bare: House, acme: Authority
) -> None:
    trust = trusting(bare, acme)
    first = signing(bare, acme)
    opened(bare, trust).attest()
    opened(bare, trust).load().close()
    second = signing(bare, acme)
    signer = opened(bare, trust)
    signer.load().close()
    signer.attest()
    gateway = served(bare, trust)
    assert gateway.world.keys.key_id(Purpose.MODEL) is None
    found = require_attested(gateway.world.ledger, gateway.world.keys, gateway.candidate)
    assert found.key_id == fingerprint(second)[:32] != fingerprint(first)[:32]


def test_an_expired_certificate_signs_nothing_and_what_it_signed_before_stays_good(
    bare: House, acme: Authority
) -> None:
    trust = trusting(bare, acme)
    signing(bare, acme, until=timedelta(seconds=4))
    signer = opened(bare, trust)
    signer.attest()
    time.sleep(4.5)
    signer.load().close()
    verify_files(signer.candidate, signer.world)
    with pytest.raises(IntegrityError, match="certificate has expired"):
        signer.attest()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"since": timedelta(days=-2), "until": timedelta(days=-1)}, "certificate has expired"),
        ({"since": timedelta(days=1)}, "not yet valid"),
        ({"uses": (SERVER,)}, "not for signing code"),
        ({"uses": ()}, "not for signing code"),
        ({"signs": False}, "not for signatures"),
    ],
)
def test_a_certificate_for_another_time_or_use_signs_nothing(
    bare: House, acme: Authority, options: dict[str, Any], why: str
) -> None:
    signing(bare, acme, **options)
    with pytest.raises(IntegrityError, match=why):
        opened(bare, trusting(bare, acme)).attest()


def test_a_stolen_expired_certificate_attests_nothing(bare: House, acme: Authority) -> None:
    """Whoever has its key, and makes the attestation where nothing is checked, meets the gateway's own check."""
    trust = trusting(bare, acme)
    old = {"since": timedelta(days=-2), "until": timedelta(days=-1)}
    signing(bare, acme, **old)
    with pytest.MonkeyPatch.context() as patch:
        clock = wiring.now
        patch.setattr(wiring, "now", lambda: clock() - timedelta(days=1, hours=12))
        theirs = opened(bare, trust)
    theirs.attest()
    gateway = served(bare, trust)
    with pytest.raises(IntegrityError, match="certificate has expired"):
        gateway.load()


@pytest.mark.parametrize("hashed", [False, True])
def test_a_time_moved_back_in_the_database_does_not_let_an_expired_certificate_count(
    bare: House, acme: Authority, hashed: bool
) -> None:
    """By somebody who may write the database and has no key of the ledger's; they may compute its hash again."""
    trust = trusting(bare, acme)
    signing(bare, acme, since=timedelta(days=-2), until=timedelta(days=-1))
    clock = wiring.now
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wiring, "now", lambda: clock() - timedelta(days=1, hours=12))
        theirs = opened(bare, trust)
    theirs.attest()
    gateway = served(bare, trust)
    known = attestations(gateway.world.ledger, claims(gateway.candidate))
    _dated(bare, known[0], clock() - timedelta(days=1, hours=12), hashed=hashed)
    (moved,) = attestations(gateway.world.ledger, claims(gateway.candidate))
    assert moved.at < known[0].at
    with pytest.raises(IntegrityError, match="not as it was written"):
        gateway.load()
    with pytest.raises(IntegrityError, match="not as it was written"):
        gateway.load(known=[moved])
    with pytest.raises(IntegrityError, match="not as it was written"):
        verify_files(gateway.candidate, gateway.world)


def _dated(house: House, record: Record, at: datetime, *, hashed: bool) -> None:
    row = chain.store(record.model_copy(update={"at": at}))
    with closing(sqlite3.connect(house.state / "ledger.db")) as database, database:
        for (name,) in database.execute("select name from sqlite_master where type = 'trigger'").fetchall():
            database.execute(f"drop trigger {name}")
        values = (row.at, chain.hash_of(row) if hashed else row.hash, row.sequence)
        database.execute("update towpath_records set at = ?, hash = ? where sequence = ?", values)


def test_nobody_else_vouches(bare: House, acme: Authority) -> None:
    other, key = Authority.root("Acme Models Root"), p256()  # of the same name, and it brings its own root
    installed(bare, key, other.certify(key.public_key()), other.certificate)
    opened(bare, trusting(bare, other)).attest()
    for trust in (trusting(bare, acme), None):
        with pytest.raises(IntegrityError, match=r"vouched for by nobody|nobody vouches"):
            served(bare, trust).load()


def test_a_chain_with_a_gap_or_by_what_is_no_authority_vouches_for_nothing(bare: House, acme: Authority) -> None:
    trust = trusting(bare, acme)
    middle, key = acme.below("Acme Models Issuing"), p256()
    installed(bare, key, middle.certify(key.public_key()))
    with pytest.raises(IntegrityError, match="unable to get local issuer"):
        opened(bare, trust).attest()
    leaf = acme.certify(key.public_key(), "no authority")
    below = Authority(name="no authority", key=key, certificate=leaf)
    mine = p256()
    installed(bare, mine, below.certify(mine.public_key()), leaf)
    with pytest.raises(IntegrityError, match="invalid CA certificate"):
        opened(bare, trust).attest()


def test_a_certificate_of_another_key_signs_nothing(bare: House, acme: Authority) -> None:
    installed(bare, p256(), acme.certify(p256().public_key()))
    with pytest.raises(IntegrityError, match="not by the key of the certificate"):
        opened(bare, trusting(bare, acme)).attest()


def test_another_ones_chain_does_not_carry_a_signature(bare: House, acme: Authority) -> None:
    """A statement by mallory's own key, with the genuine signer's certificate beside it."""
    trust = trusting(bare, acme)
    signing(bare, acme)
    opened(bare, trust).attest()
    body = bare.attestation(bare.candidate)
    envelope: dict[str, Any] = json.loads(json.dumps(body["envelope"]))
    signature = p256().sign(b"anything", ec.ECDSA(hashes.SHA256()))
    envelope["signatures"][0]["sig"] = base64.b64encode(signature).decode()
    bare.hidden = list(bare.world.ledger.records(kind=RecordKind.ATTESTATION))
    bare.write({**body, "envelope": envelope})
    with pytest.raises(IntegrityError, match="not by the key of the certificate"):
        served(bare, trust).load()


def test_certificates_that_cannot_be_read_do_not_hide_who_signed_before(bare: House, acme: Authority) -> None:
    """Any error but `IntegrityError` would stop a gateway from following the record, revocations among it."""
    trust = trusting(bare, acme)
    certificate = signing(bare, acme)
    opened(bare, trust).attest()
    raw = certificate.public_bytes(serialization.Encoding.DER).replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x05")
    listed: Any = [{"rawBytes": base64.b64encode(raw).decode()}]
    bare.write(
        {
            **bare.attestation(bare.candidate),
            "verification_material": {"x509CertificateChain": {"certificates": listed}, "tlogEntries": []},
        }
    )
    served(bare, trust).load().close()


def _of_nobody(_: Authority, key: ec.EllipticCurvePrivateKey) -> list[x509.Certificate]:
    mallory = Authority.root("Mallory")
    return [mallory.certify(key.public_key()), mallory.certificate]


def _of_another_key(acme: Authority, _: ec.EllipticCurvePrivateKey) -> list[x509.Certificate]:
    return [acme.certify(p256().public_key())]


def _another_of_the_key(acme: Authority, key: ec.EllipticCurvePrivateKey) -> list[x509.Certificate]:
    return [acme.certify(key.public_key())]


@pytest.mark.parametrize(
    ("chain", "why"),
    [
        (_of_nobody, "vouched for by nobody"),
        (_of_another_key, "not by the key of the certificate"),
        (_another_of_the_key, "nobody trusts"),
    ],
)
def test_files_signed_with_another_certificate_are_refused(
    bare: House,
    acme: Authority,
    tmp_path: Path,
    chain: Callable[[Authority, ec.EllipticCurvePrivateKey], list[x509.Certificate]],
    why: str,
) -> None:
    """The statement is the genuine signer's, and so is the digest of the files' signature that it names."""
    trust, key = trusting(bare, acme), p256()
    installed(bare, key, acme.certify(key.public_key()))
    signer = opened(bare, trust)
    genuine = signed(signer)
    bundle = json.loads(bare.object(genuine.bundle).read_text())
    bundle["verificationMaterial"]["x509CertificateChain"]["certificates"] = [
        {"rawBytes": base64.b64encode(one.public_bytes(serialization.Encoding.DER)).decode()}
        for one in chain(acme, key)
    ]
    (tmp_path / "other.sig").write_text(json.dumps(bundle))
    other = replace(genuine, bundle=signer.world.objects.put(tmp_path / "other.sig"))
    attesting.attest(bare.candidate, other, signer.world)
    with pytest.raises(IntegrityError, match=why):
        verify_files(bare.candidate, signer.world)


def test_files_and_statement_are_of_one_signer(bare: House, acme: Authority) -> None:
    """The certificate is renewed between the two: the model would load, and its files never verify."""
    trust = trusting(bare, acme)
    signing(bare, acme)
    signer = opened(bare, trust)
    first = signed(signer)
    signing(bare, acme)
    with pytest.raises(IntegrityError, match="by another signer"):
        attesting.attest(bare.candidate, first, signer.world)
    assert not list(bare.world.ledger.records(candidate=bare.candidate.id, kind=RecordKind.ATTESTATION))
    signer.attest()
    verify_files(bare.candidate, signer.world)


def test_a_changed_file_is_named(bare: House, acme: Authority) -> None:
    trust = trusting(bare, acme)
    signing(bare, acme)
    signer = opened(bare, trust)
    signer.attest()
    (bare.saved() / "model.skops").write_bytes(b"other weights")
    with pytest.raises(IntegrityError):
        verify_files(bare.candidate, signer.world)
    with pytest.raises(IntegrityError):
        served(bare, trust).load(compiled=False)


@pytest.fixture
def ask(bare: House, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Ask:
    monkeypatch.setenv("TOWPATH_STATE", str(bare.state))
    monkeypatch.setenv("TOWPATH_ACTOR", "Ada Lovelace")
    monkeypatch.setattr(wiring, "open_models", lambda _: bare.world.models)

    def run(trust: Path, *arguments: str) -> tuple[int, Any]:
        monkeypatch.setenv("TOWPATH_MODEL_TRUST", str(trust))
        capfd.readouterr()
        code = towpath([*arguments, "--json"])
        return code, json.loads(capfd.readouterr().out)

    return run


def test_a_certificate_is_revoked_by_its_fingerprint_and_an_authority_as_well(
    bare: House, acme: Authority, ask: Ask
) -> None:
    trust = trusting(bare, acme)
    first = signing(bare, acme)
    code, attested = ask(trust, "model", "attest", bare.candidate.id)
    assert (code, attested["key"]) == (0, fingerprint(first)[:32])
    assert ask(trust, "key", "rotate", "model")[0] == 2  # its authority renews it
    code, refused = ask(trust, "key", "revoke", fingerprint(first), "--reason", "a stolen laptop")
    assert (code, "signs now" in refused["error"]["message"]) == (2, True)
    second = signing(bare, acme)
    colons = ":".join(fingerprint(first)[place : place + 2].upper() for place in range(0, 64, 2))
    code, revoked = ask(trust, "key", "revoke", colons, "--reason", "a stolen laptop")
    assert (code, revoked["key_id"]) == (0, fingerprint(first)[:32])
    with pytest.raises(IntegrityError, match="was revoked"):
        opened(bare, trust).load()
    code, attested = ask(trust, "model", "attest", bare.candidate.id)
    assert (code, attested["key"]) == (0, fingerprint(second)[:32])
    assert attested["signer"] == f"certificate {fingerprint(second)[:32]} of CN=releases"
    assert attested["certificate"] == attested["key"]
    opened(bare, trust).load().close()
    (record,) = [one for one in bare.world.ledger.records(kind=RecordKind.ACCESS) if "key" in one.body]
    assert (record.body["key"], record.body["key_id"]) == ("revoke", fingerprint(first)[:32])

    code, listed = ask(trust, "key", "list")
    (root,) = [row for row in listed if row["about"] == "authority CN=Acme Models Root"]
    assert root["key_id"] == fingerprint(acme.certificate)[:32]
    assert ask(trust, "key", "revoke", root["key_id"][:8], "--reason", "the authority was broken into")[0] == 0
    with pytest.raises(IntegrityError, match="was revoked"):
        opened(bare, trust).load()
    code, listed = ask(trust, "key", "list")
    assert [row["revoked_at"] is not None for row in listed if row["about"].startswith("authority")] == [True]
    assert bare.world.ledger.verify().whole


def test_a_revoked_key_is_not_saved_by_a_certificate(bare: House, acme: Authority) -> None:
    trust, key = trusting(bare, acme), bare.state / "keys" / "model.key"
    private: Any = serialization.load_pem_private_key(key.read_bytes(), None)
    key_id = bare.keys.key_id(Purpose.MODEL)
    assert key_id is not None
    bare.keys.revoke(key_id, at=wiring.now(), after=0, reason="stolen it was")
    installed(bare, private, acme.certify(private.public_key()))
    with pytest.raises(IntegrityError, match="was revoked"):
        opened(bare, trust).attest()


@pytest.mark.skipif(shutil.which("softhsm2-util") is None, reason="SoftHSM is not installed: apt install softhsm2")
def test_a_key_on_a_token_is_certified(
    bare: House, acme: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tokens").mkdir()
    (tmp_path / "conf").write_text(f"directories.tokendir = {tmp_path / 'tokens'}\nlog.level = ERROR\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(tmp_path / "conf"))
    key, file = p256(), tmp_path / "key.pem"
    form = serialization.PrivateFormat.PKCS8
    file.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    slot = ("--init-token", "--free", "--label", "models", "--pin", PIN, "--so-pin", "987654")
    put = ("--import", str(file), "--token", "models", "--label", "one", "--id", "01", "--pin", PIN)
    for arguments in (slot, put):
        subprocess.run(["softhsm2-util", *arguments], check=True, capture_output=True, timeout=60)
    certificate, trust = acme.certify(key.public_key()), trusting(bare, acme)
    (bare.state / "keys" / "model.crt").write_bytes(pem(certificate))
    opened(bare, trust, TOWPATH_MODEL_KEY=uri(), TOWPATH_MODEL_PIN=PIN).attest()
    gateway = served(bare, trust)
    gateway.load().close()
    assert verify_files(gateway.candidate, gateway.world).key_id == fingerprint(certificate)[:32]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("authorities: [gone.pem]", "gone.pem"),
        ("authorities: [leaf.pem]", "not the root of an authority"),
        ("authorities: [middle.pem]", "not the root of an authority"),
        ("authorities: []", "trusts nobody"),
        ("authority: acme.pem", "Extra inputs"),
        ("{", "cannot be used"),
        ("identities: [{identity: a, issuer: b, sigstore: leaf.pem}]", "no ClientTrustConfig"),
        ("identities: [{identity: a, sigstore: leaf.pem}]", "Field required"),
    ],
)
def test_a_trust_file_that_is_wrong_trusts_nobody_and_says_why(
    bare: House, acme: Authority, tmp_path: Path, text: str, why: str
) -> None:
    (tmp_path / "leaf.pem").write_bytes(pem(acme.certify(p256().public_key())))
    acme.below("middle").write(tmp_path / "middle.pem")
    (tmp_path / "trust.yaml").write_text(text)
    signing(bare, acme)
    with pytest.raises(Misconfigured, match=why):
        opened(bare, tmp_path / "trust.yaml").attest()


def test_a_trusted_key_stays_trusted_beside_an_authority(house: House, acme: Authority) -> None:
    opened(house, trusting(house, acme)).load().close()
    signing(house, acme)
    keys = opened(house, trusting(house, acme)).world.keys
    with pytest.raises(BadInput, match="its authority renews it"):
        keys.rotate(Purpose.MODEL, at=wiring.now())


def test_a_trusted_key_stays_trusted_beside_a_trust_file_that_is_wrong(house: House, acme: Authority) -> None:
    """Though the newest attestation is of who is vouched for; and a revoked one stays revoked."""
    trust, key_id = trusting(house, acme), house.keys.key_id(Purpose.MODEL)
    signing(house, acme)
    opened(house, trust).attest()
    trust.write_text("authorities: 1")
    gateway = served(house, trust)
    gateway.load().close()
    assert key_id is not None
    gateway.world.keys.revoke(key_id, at=wiring.now(), after=1, reason="a stolen laptop")
    with pytest.raises(Misconfigured, match="cannot be used"):
        gateway.load()


def test_who_vouches_for_keys_is_not_said_to_have_signed_before(house: House, acme: Authority) -> None:
    old = house.keys.key_id(Purpose.MODEL)
    gateway = served(house, trusting(house, acme))
    made = keyring.rotate(gateway.world.keys, house.world.ledger, Purpose.MODEL, actor="Ada", at=wiring.now())
    (record,) = [one for one in house.world.ledger.records(kind=RecordKind.ACCESS) if "key" in one.body]
    assert (record.body["key_id"], record.body["before"]) == (made.key_id, old)
