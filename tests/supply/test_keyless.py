"""Models signed by an identity: a real Sigstore client, and a Fulcio, a certificate log and a Rekor on this machine."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from servers.oidc import OidcServer
from servers.sigstore import WORKFLOW, Sigstore
from supply.house import House
from supply.test_certificates import signed
from towpath import wiring
from towpath.adapters.keys_trust import identity_id
from towpath.cli import run as towpath
from towpath.core.errors import BadInput, IntegrityError, Misconfigured, TowpathError, Unreachable
from towpath.core.evidence import RecordKind
from towpath.ports import Identified, Purpose
from towpath.settings import Settings
from towpath.stages import attest as attesting
from towpath.stages.attest import verify_files
from towpath.stages.attested import require_attested

pytestmark = pytest.mark.slow
OTHER = "acme/models/.github/workflows/nightly.yml@refs/heads/main"


def trusting(house: House, sigstore: Sigstore, workflow: str = WORKFLOW, *, issuer: str | None = None) -> Path:
    """A trust file that names one workflow's identity by that deployment."""
    folder = house.state.parent / "trust"
    folder.mkdir(exist_ok=True)
    config = sigstore.configured(folder / "sigstore.json")
    named = {"identity": sigstore.identity(workflow), "issuer": issuer or sigstore.oidc.issuer, "sigstore": config.name}
    (folder / "trust.yaml").write_text(json.dumps({"identities": [named]}))
    return folder / "trust.yaml"


def signer(house: House, sigstore: Sigstore, trust: Path | None, *, token: str | None = None) -> House:
    """The house of a run of the workflow."""
    file, config = house.state.parent / "token", sigstore.configured(house.state.parent / "deployment.json")
    file.write_text(token or sigstore.token())
    return opened(house, trust, TOWPATH_MODEL_KEY=f"sigstore:{config}?identity-token=file:{file}")


def opened(house: House, trust: Path | None, **given: str) -> House:
    """The house of a process with these settings; without the latter two, of a gateway."""
    named = {"TOWPATH_MODEL_TRUST": str(trust)} if trust else {}
    settings = Settings.read({"TOWPATH_STATE": str(house.state), **named, **given}, folder=house.state)
    return replace(house, world=replace(house.world, keys=wiring.open_keys(settings)))


def test_a_workflow_signs_and_a_gateway_that_trusts_it_loads_without_asking_anybody(
    bare: House, sigstore: Sigstore
) -> None:
    trust = trusting(bare, sigstore)
    signer(bare, sigstore, trust).attest()
    asked = len(sigstore.asked)
    gateway = opened(bare, trust)
    found = require_attested(gateway.world.ledger, gateway.world.keys, gateway.candidate)
    assert isinstance(found.signatory, Identified)
    assert found.signer == f"{sigstore.identity()}, as {sigstore.oidc.issuer} says"
    gateway.load().close()
    verify_files(gateway.candidate, gateway.world)
    assert len(sigstore.asked) == asked
    assert gateway.world.ledger.verify().whole


def test_a_second_signature_of_an_identity_is_another_attestation(bare: House, sigstore: Sigstore) -> None:
    trust = trusting(bare, sigstore)
    for _ in range(2):
        signer(bare, sigstore, trust).attest()
    records = list(bare.world.ledger.records(candidate=bare.candidate.id, kind=RecordKind.ATTESTATION))
    assert len(records) == 2
    opened(bare, trust).load().close()


def _another_identity(house: House, sigstore: Sigstore) -> Path:
    return trusting(house, sigstore, OTHER)


def _another_issuer(house: House, sigstore: Sigstore) -> Path:
    return trusting(house, sigstore, issuer="https://issuer.example")


def _nobody(house: House, sigstore: Sigstore) -> None:
    """No trust file at all."""


def _another_root(house: House, sigstore: Sigstore) -> Path:
    return _of(house, sigstore, "certificateAuthorities")


def _another_rekor(house: House, sigstore: Sigstore) -> Path:
    return _of(house, sigstore, "tlogs")


def _another_certificate_log(house: House, sigstore: Sigstore) -> Path:
    return _of(house, sigstore, "ctlogs")


def _of(house: House, sigstore: Sigstore, part: str) -> Path:
    """Trust in a deployment that is the same but for one part, which is of another one."""
    other = Sigstore(oidc=sigstore.oidc, server=sigstore.server)
    trust = trusting(house, sigstore)
    file = trust.with_name("sigstore.json")
    config = json.loads(file.read_text())
    config["trustedRoot"][part] = json.loads(other.configured(file).read_text())["trustedRoot"][part]
    file.write_text(json.dumps(config))
    return trust


@pytest.mark.parametrize(
    ("trust", "why"),
    [
        (_another_identity, "an identity that nobody trusts"),
        (_another_issuer, "an identity that nobody trusts"),
        (_nobody, "nobody vouches"),
        (_another_root, "certificate chain"),
        (_another_rekor, "invalid log entry"),
        (_another_certificate_log, "SCT"),
    ],
)
def test_who_trusts_another_loads_nothing(
    bare: House, sigstore: Sigstore, trust: Callable[[House, Sigstore], Path | None], why: str
) -> None:
    signer(bare, sigstore, trusting(bare, sigstore)).attest()
    with pytest.raises(IntegrityError, match=why):
        opened(bare, trust(bare, sigstore)).load()


def test_who_signs_is_checked_before_anything_is_recorded(bare: House, sigstore: Sigstore) -> None:
    run = signer(bare, sigstore, trusting(bare, sigstore), token=sigstore.token(OTHER))
    with pytest.raises(IntegrityError, match="an identity that nobody trusts"):
        run.attest()
    assert not list(bare.world.ledger.records(candidate=bare.candidate.id, kind=RecordKind.ATTESTATION))


def _payload(body: dict[str, Any]) -> None:
    payload = json.loads(base64.b64decode(body["envelope"]["payload"]))
    payload["predicate"]["requirement"] = None
    body["envelope"]["payload"] = base64.b64encode(json.dumps(payload).encode()).decode()


def _time(body: dict[str, Any]) -> None:
    entry = body["verification_material"]["tlogEntries"][0]
    entry["integratedTime"] = str(int(entry["integratedTime"]) - 1)


def _no_promise(body: dict[str, Any]) -> None:
    del body["verification_material"]["tlogEntries"][0]["inclusionPromise"]


def _no_entry(body: dict[str, Any]) -> None:
    body["verification_material"]["tlogEntries"] = []


def _proof(body: dict[str, Any]) -> None:
    proof = body["verification_material"]["tlogEntries"][0]["inclusionProof"]
    proof["rootHash"] = base64.b64encode(bytes(32)).decode()


def _certificate(body: dict[str, Any]) -> None:
    raw = bytearray(base64.b64decode(body["verification_material"]["certificate"]["rawBytes"]))
    raw[-3] ^= 1
    body["verification_material"]["certificate"]["rawBytes"] = base64.b64encode(bytes(raw)).decode()


def _signature(body: dict[str, Any]) -> None:
    raw = bytearray(base64.b64decode(body["envelope"]["signatures"][0]["sig"]))
    raw[-1] ^= 1
    body["envelope"]["signatures"][0]["sig"] = base64.b64encode(bytes(raw)).decode()


def _no_material(body: dict[str, Any]) -> None:
    del body["verification_material"]


def _material_of_nothing(body: dict[str, Any]) -> None:
    body["verification_material"] = "certificate"


def _as_another(body: dict[str, Any]) -> None:
    body["envelope"]["signatures"][0]["keyid"] = "0" * 32


TAMPERED = (
    _payload,
    _time,
    _no_promise,
    _no_entry,
    _proof,
    _certificate,
    _signature,
    _no_material,
    _material_of_nothing,
    _as_another,
)


def test_a_tampered_attestation_loads_nothing(bare: House, sigstore: Sigstore) -> None:
    trust = trusting(bare, sigstore)
    signer(bare, sigstore, trust).attest()
    genuine = bare.attestation(bare.candidate)
    for tamper in TAMPERED:
        bare.hidden = list(bare.world.ledger.records(candidate=bare.candidate.id, kind=RecordKind.ATTESTATION))
        body = json.loads(json.dumps(genuine))
        tamper(body)
        bare.write(body)
        assert not _loads(opened(bare, trust)), tamper.__name__
    bare.write(genuine)
    assert _loads(opened(bare, trust))


def _loads(house: House) -> bool:
    try:
        house.load().close()
    except IntegrityError:
        return False
    return True


def test_the_attestation_of_another_model_proves_nothing(bare: House, sigstore: Sigstore) -> None:
    trust = trusting(bare, sigstore)
    run = signer(bare, sigstore, trust)
    replace(run, candidate=bare.other).attest()
    bare.write(_newest(bare))
    with pytest.raises(IntegrityError, match="about something else"):
        opened(bare, trust).load()


def _newest(house: House) -> dict[str, Any]:
    records = list(house.world.ledger.records(candidate=house.other.id, kind=RecordKind.ATTESTATION))
    return dict(records[-1].body)


def test_the_files_signature_is_held_to_the_identity_and_the_files(bare: House, sigstore: Sigstore) -> None:
    trust = trusting(bare, sigstore)
    run = signer(bare, sigstore, trust)
    run.attest()
    stored = bare.object(str(bare.attestation(bare.candidate)["model_signature"]))
    genuine = stored.read_bytes()
    replace(run, candidate=bare.other).attest()
    stored.write_bytes(bare.object(str(_newest(bare)["model_signature"])).read_bytes())
    with pytest.raises(IntegrityError):  # of another model
        verify_files(bare.candidate, run.world)
    bundle = json.loads(genuine)
    _time({"verification_material": bundle["verificationMaterial"]})
    stored.write_text(json.dumps(bundle))
    with pytest.raises(IntegrityError):
        verify_files(bare.candidate, run.world)
    stored.write_bytes(b"{}")
    with pytest.raises(IntegrityError):
        verify_files(bare.candidate, run.world)
    stored.write_bytes(genuine)
    verify_files(bare.candidate, run.world)
    (bare.saved() / "model.skops").write_bytes(b"other weights")
    with pytest.raises(IntegrityError):
        verify_files(bare.candidate, run.world)
    with pytest.raises(IntegrityError):
        opened(bare, trust).load(compiled=False)


def _theirs(house: House, sigstore: Sigstore, trust: Path, _: dict[str, Any]) -> dict[str, Any]:
    """Another identity's, which is trusted as well."""
    other = signer(house, sigstore, trust, token=sigstore.token(OTHER))
    return json.loads(house.object(signed(other).bundle).read_text())  # type: ignore[no-any-return]


def _dated_back(house: House, sigstore: Sigstore, trust: Path, mine: dict[str, Any]) -> dict[str, Any]:
    _time({"verification_material": mine["verificationMaterial"]})
    return mine


def _no_signatures(house: House, sigstore: Sigstore, trust: Path, mine: dict[str, Any]) -> dict[str, Any]:
    return {**mine, "dsseEnvelope": {**mine["dsseEnvelope"], "signatures": 1}}


@pytest.mark.parametrize(
    ("bundle", "why"),
    [(_theirs, "nobody trusts"), (_dated_back, "did not make it"), (_no_signatures, "no list of signatures")],
)
def test_files_signed_by_another_are_refused_though_the_statement_names_their_signature(
    bare: House,
    sigstore: Sigstore,
    tmp_path: Path,
    bundle: Callable[[House, Sigstore, Path, dict[str, Any]], dict[str, Any]],
    why: str,
) -> None:
    trust = trusting(bare, sigstore)
    named = json.loads(trust.read_text())["identities"]
    trust.write_text(json.dumps({"identities": [*named, {**named[0], "identity": sigstore.identity(OTHER)}]}))
    genuine = signed(signer(bare, sigstore, trust))
    other = bundle(bare, sigstore, trust, json.loads(bare.object(genuine.bundle).read_text()))
    (tmp_path / "other.sig").write_text(json.dumps(other))
    run = signer(bare, sigstore, trust)
    stored = run.world.objects.put(tmp_path / "other.sig")
    attesting.attest(bare.candidate, replace(genuine, bundle=stored), run.world)
    with pytest.raises(IntegrityError, match=why):
        verify_files(bare.candidate, run.world)


def test_an_unsigned_model_is_not_loaded(bare: House, sigstore: Sigstore) -> None:
    with pytest.raises(IntegrityError, match="has no attestation"):
        opened(bare, trusting(bare, sigstore)).load()


@pytest.fixture
def late(oidc_server: OidcServer) -> Iterator[Sigstore]:
    """A deployment whose log writes down what was signed once the certificate has expired."""
    server = Sigstore(oidc=oidc_server, late=timedelta(minutes=20))
    server.start()
    yield server
    server.stop()


def test_a_certificate_that_had_expired_when_it_was_logged_signs_nothing(bare: House, late: Sigstore) -> None:
    with pytest.raises(IntegrityError, match=r"certificate chain|expired at time of signing"):
        signer(bare, late, trusting(bare, late)).attest()


def test_an_identity_is_listed_and_revoked(
    bare: House, sigstore: Sigstore, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    trust = trusting(bare, sigstore)
    signer(bare, sigstore, trust).attest()
    key_id = identity_id(sigstore.identity(), sigstore.oidc.issuer)
    monkeypatch.setenv("TOWPATH_STATE", str(bare.state))
    monkeypatch.setenv("TOWPATH_MODEL_TRUST", str(trust))
    capfd.readouterr()
    assert towpath(["key", "list", "--json"]) == 0
    (row,) = [one for one in json.loads(capfd.readouterr().out) if one["key_id"] == key_id]
    assert row["about"] == f"identity {sigstore.identity()} of {sigstore.oidc.issuer}"
    gateway = opened(bare, trust)
    before = gateway.world.keys.trusted(Purpose.MODEL)
    gateway.load().close()
    assert towpath(["key", "revoke", key_id[:10], "--reason", "the workflow was changed", "--by", "Ada"]) == 0
    assert gateway.world.keys.trusted(Purpose.MODEL) != before  # so that a gateway looks again
    with pytest.raises(IntegrityError, match="was revoked"):
        gateway.load()
    with pytest.raises(IntegrityError, match="was revoked"):
        signer(bare, sigstore, trust).attest()
    assert bare.world.ledger.verify().whole


def test_one_run_is_revoked_by_its_certificate(bare: House, sigstore: Sigstore) -> None:
    trust = trusting(bare, sigstore)
    signer(bare, sigstore, trust).attest()
    gateway = opened(bare, trust)
    found = require_attested(gateway.world.ledger, gateway.world.keys, gateway.candidate).signatory
    assert isinstance(found, Identified)
    gateway.world.keys.revoke(found.certificate, at=wiring.now(), after=1, reason="that run was tampered with")
    with pytest.raises(IntegrityError, match="was revoked"):
        gateway.load()
    signer(bare, sigstore, trust).attest()
    gateway.load().close()


def test_commands_show_by_what_one_run_is_revoked(
    bare: House, sigstore: Sigstore, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    trust = trusting(bare, sigstore)
    run, gateway = signer(bare, sigstore, trust), opened(bare, trust)
    monkeypatch.setenv("TOWPATH_STATE", str(bare.state))
    monkeypatch.setenv("TOWPATH_MODEL_TRUST", str(trust))
    monkeypatch.setattr(wiring, "open_models", lambda _: bare.world.models)
    found = []
    for _ in range(2):
        run.attest()
        capfd.readouterr()
        assert towpath(["model", "verify", bare.candidate.id, "--json"]) == 0
        found.append(json.loads(capfd.readouterr().out)["certificate"])
    first, second = found
    assert first != second
    assert towpath(["model", "verify", bare.candidate.id]) == 0
    assert f"certificate  {second}" in capfd.readouterr().out
    for certificate in found:
        gateway.load().close()
        assert towpath(["key", "revoke", certificate, "--reason", "that run was tampered with", "--by", "Ada"]) == 0
    with pytest.raises(IntegrityError, match=f"{second} was revoked"):
        gateway.load()


def test_an_identity_has_no_key_to_rotate_and_signs_no_record(bare: House, sigstore: Sigstore) -> None:
    keys = signer(bare, sigstore, trusting(bare, sigstore)).world.keys
    assert keys.key_id(Purpose.MODEL) is None
    assert keys.key_id(Purpose.LEDGER) == bare.keys.key_id(Purpose.LEDGER)
    with pytest.raises(BadInput, match="no model key to rotate"):
        keys.rotate(Purpose.MODEL, at=wiring.now())
    with pytest.raises(Misconfigured, match="signs statements alone"):
        keys.sign(Purpose.MODEL, b"text")


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"aud": "towpath"}, "malformed or missing claims"),
        ({"exp": 1}, "malformed or missing claims"),
        ({"iss": "https://issuer.example"}, "it answers 400"),
    ],
)
def test_a_token_that_is_not_accepted_is_said_and_not_shown(
    bare: House, sigstore: Sigstore, claims: dict[str, Any], why: str
) -> None:
    token = sigstore.token(**claims)
    with pytest.raises(Misconfigured, match=why) as refused:
        signer(bare, sigstore, trusting(bare, sigstore), token=token).attest()
    assert token not in str(refused.value) + repr(refused.value.__dict__)


def test_a_deployment_that_does_not_answer_is_said(bare: House, oidc_server: OidcServer) -> None:
    gone = Sigstore(oidc=oidc_server)
    gone.start()
    run = signer(bare, gone, trusting(bare, gone))
    gone.stop()
    with pytest.raises(Unreachable, match="does not answer"):
        run.attest()


def test_nobody_is_asked_in_a_browser(bare: House, sigstore: Sigstore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a token, and outside of a continuous integration service, nothing signs."""
    for name in ("GITHUB_ACTIONS", "GITLAB_CI", "BUILDKITE", "CIRCLECI", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", "")
    trust = trusting(bare, sigstore)
    run = opened(bare, trust, TOWPATH_MODEL_KEY=f"sigstore:{trust.with_name('sigstore.json')}")
    with pytest.raises(TowpathError, match=r"no identity|identity token"):
        run.attest()
