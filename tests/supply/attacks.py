"""Attacks on what was registered: bytes swapped, signatures forged, statements about something else."""

from __future__ import annotations

import base64
import copy
import json
import shutil
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from supply import payloads as make
from supply.house import NOW, House
from towpath.adapters.keys_local import LocalKeys
from towpath.core import statement as statements
from towpath.core.evidence import Entry, RecordKind, Subject
from towpath.ports import Purpose
from towpath.stages.serving import approved

Attack = Callable[[House, Path], object]

# --- bytes ------------------------------------------------------------------------------------------------------------


def _swapped_compiled(content: Callable[[House, Path], bytes]) -> Attack:
    """The compiled file, swapped in place in the object store."""

    def act(house: House, canary: Path) -> None:
        subject = approved(house.candidate).runtime
        assert subject is not None
        house.object(subject.digest).write_bytes(content(house, canary))

    return act


def _others_compiled(house: House, canary: Path) -> bytes:
    subject = approved(house.other).runtime
    assert subject is not None
    return house.object(subject.digest).read_bytes()


def _no_compiled(house: House, canary: Path) -> None:
    subject = approved(house.candidate).runtime
    assert subject is not None
    house.object(subject.digest).unlink()


def _flipped(house: House, canary: Path) -> bytes:
    subject = approved(house.candidate).runtime
    assert subject is not None
    data = bytearray(house.object(subject.digest).read_bytes())
    data[len(data) // 2] ^= 1
    return bytes(data)


COMPILED: Mapping[str, Attack] = {
    "compiled file is a pickle": _swapped_compiled(lambda house, canary: make.pickled(canary)),
    "compiled file of another signed model": _swapped_compiled(_others_compiled),
    "compiled file with one bit changed": _swapped_compiled(_flipped),
    "compiled file emptied": _swapped_compiled(lambda house, canary: b""),
    "compiled file gone": _no_compiled,
}


def _others_weights(house: House, canary: Path) -> None:
    shutil.copyfile(house.saved().with_name("second") / "model.skops", house.saved() / "model.skops")


def _others_folder(house: House, canary: Path) -> None:
    shutil.rmtree(house.saved())
    shutil.copytree(house.saved().with_name("second"), house.saved())


def _pickle_weights(house: House, canary: Path) -> None:
    (house.saved() / "model.skops").write_bytes(make.pickled(canary))


def _link_out(house: House, canary: Path) -> None:
    outside = house.state / "outside.skops"
    shutil.copyfile(house.saved().with_name("second") / "model.skops", outside)
    (house.saved() / "model.skops").unlink()
    (house.saved() / "model.skops").symlink_to(outside)


def _edited(house: House, canary: Path) -> None:
    file = house.saved() / "MLmodel"
    file.write_text(file.read_text(encoding="utf-8").replace("code: null", "code: code"), encoding="utf-8")


SAVED: Mapping[str, Attack] = {
    "weights of another signed model": _others_weights,
    "folder of another signed model": _others_folder,
    "weights that are a pickle": _pickle_weights,
    "weights linked out of the folder": _link_out,
    "file more": lambda house, canary: (house.saved() / "hook.py").write_text("open('canary', 'w')"),
    "file more, hidden": lambda house, canary: (house.saved() / ".gitignore").write_bytes(make.pickled(canary)),
    "file gone": lambda house, canary: (house.saved() / "requirements.txt").unlink(),
    "weights gone": lambda house, canary: (house.saved() / "model.skops").unlink(),
    "metadata edited": _edited,
}

# --- attestations -----------------------------------------------------------------------------------------------------


def _rewritten(change: Callable[[dict[str, Any], House], None], *, keys: str | None = None) -> Attack:
    """The candidate's own attestation, changed. `keys`: who signs it anew, "own" or "unknown"; None nobody."""

    def act(house: House, canary: Path) -> None:
        house.attest()
        body = copy.deepcopy(house.attestation(house.candidate))
        statement = json.loads(base64.b64decode(body["envelope"]["payload"]))
        change(statement, house)
        payload = json.dumps(statement).encode()
        if keys is None:
            body["envelope"]["payload"] = base64.b64encode(payload).decode()
        else:
            body["envelope"] = _signed(house, payload, keys)
        _only(house, body)

    return act


def _signed(house: House, payload: bytes, who: str) -> dict[str, Any]:
    what = statements.pae(statements.PAYLOAD_TYPE, payload)
    if who == "unknown":
        private = ec.generate_private_key(ec.SECP256R1())
        signature = private.sign(what, ec.ECDSA(hashes.SHA256()))
        key_id = str(house.keys.key_id(Purpose.MODEL))  # it claims to be by the trusted one
    else:
        key_id, signature = house.keys.sign(Purpose.MODEL if who == "own" else Purpose.LEDGER, what)
    return statements.envelope(payload, key_id=key_id, signature=signature)


def _only(house: House, body: dict[str, Any]) -> None:
    """The forged attestation, and not the true one beside it: who edits the database can take that out."""
    records = house.world.ledger.records(kind=RecordKind.ATTESTATION, candidate=house.candidate.id)
    house.hidden.append(next(iter(records)))
    house.write(body)


def _subject(name: str, digest: str) -> Callable[[dict[str, Any], House], None]:
    def change(statement: dict[str, Any], house: House) -> None:
        for item in statement["subject"]:
            if item["name"] == name:
                item["digest"]["sha256"] = digest
                return
        raise AssertionError(name)

    return change


def _predicate(**said: Any) -> Callable[[dict[str, Any], House], None]:
    return lambda statement, house: statement["predicate"].update(said)


def _another_body(change: Callable[[dict[str, Any], House], object]) -> Attack:
    """The record around the true statement, changed."""

    def act(house: House, canary: Path) -> None:
        house.attest()
        body = copy.deepcopy(house.attestation(house.candidate))
        change(body, house)
        _only(house, body)

    return act


def _envelope(**said: Any) -> Attack:
    return _another_body(lambda body, house: body["envelope"].update(said))


def _of_other(house: House, canary: Path) -> None:
    house.write(house.attestation(house.other))


def _revoked(house: House, canary: Path) -> None:
    house.attest()
    key_id = str(house.keys.key_id(Purpose.MODEL))
    house.keys.rotate(Purpose.MODEL, at=NOW)
    house.keys.revoke(key_id, at=datetime.now(UTC), after=0, reason="stolen from a build machine")


def _untrusted(house: House, canary: Path) -> None:
    """Signed rightly, by an installation of one's own."""
    mine = LocalKeys(house.state / "mine")
    mine.rotate(Purpose.MODEL, at=NOW)
    house.attest()
    body = copy.deepcopy(house.attestation(house.candidate))
    payload = base64.b64decode(body["envelope"]["payload"])
    key_id, signature = mine.sign(Purpose.MODEL, statements.pae(statements.PAYLOAD_TYPE, payload))
    body["envelope"] = statements.envelope(payload, key_id=key_id, signature=signature)
    _only(house, body)


def _ledger_key_trusted_for_models(house: House, canary: Path) -> None:
    """The file of a trusted key says another purpose than its name's key has: only the model's purpose counts."""
    house.attest()
    body = copy.deepcopy(house.attestation(house.candidate))
    payload = base64.b64decode(body["envelope"]["payload"])
    body["envelope"] = _signed(house, payload, "ledger")
    _only(house, body)


def _renamed_key(house: House, canary: Path) -> None:
    """A key of one's own in the trusted folder, under the name of a trusted one."""
    house.attest()
    key_id = str(house.keys.key_id(Purpose.MODEL))
    file = house.state / "keys" / "trusted" / f"{key_id}.json"
    pem = (
        ec.generate_private_key(ec.SECP256R1())
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    file.write_text(json.dumps({**json.loads(file.read_text()), "pem": pem.decode()}))


def _recompiled(house: House, canary: Path) -> None:
    """The candidate's registration with another compiled file, under the old attestation: another candidate."""
    house.attest()
    file = house.state / "payload"
    file.write_bytes(make.pickled(canary))
    register = house.candidate.entry("register")
    subject = Subject(kind="runtime", name="onnx", digest=house.world.objects.put(file), size=1)
    others = [item for item in register.subjects if item.kind != "runtime"]
    changed = Entry.model_validate({**register.model_dump(), "subjects": (*others, subject)})
    house.candidate = house.candidate.model_copy(update={"entries": (*house.candidate.entries[:-1], changed)})


_NONE = "0" * 64
ATTESTATIONS: Mapping[str, Attack] = {
    "none": lambda house, canary: None,
    "of another candidate": _of_other,
    "by a revoked key": _revoked,
    "by a key that nobody trusts": _untrusted,
    "by a stranger in a trusted key's name": _rewritten(lambda statement, house: None, keys="unknown"),
    "by the ledger's key": _ledger_key_trusted_for_models,
    "by a key put under a trusted one's name": _renamed_key,
    "candidate's digest changed": _rewritten(_subject("candidate", _NONE)),
    "model's digest changed": _rewritten(_subject("model", _NONE)),
    "compiled file's digest changed": _rewritten(_subject("runtime/onnx", _NONE)),
    "charter's digest changed": _rewritten(_subject("charter", _NONE)),
    "white space changed": _rewritten(lambda statement, house: None),
    "signed over another candidate digest": _rewritten(_subject("candidate", _NONE), keys="own"),
    "signed over another model": _rewritten(_subject("model", _NONE), keys="own"),
    "signed over another compiled file": _rewritten(_subject("runtime/onnx", _NONE), keys="own"),
    "signed without the compiled file": _rewritten(
        lambda statement, house: statement["subject"].remove(
            next(item for item in statement["subject"] if item["name"] == "runtime/onnx")
        ),
        keys="own",
    ),
    "signed with a subject twice": _rewritten(
        lambda statement, house: statement["subject"].append(dict(statement["subject"][0])), keys="own"
    ),
    "signed with a subject more": _rewritten(
        lambda statement, house: statement["subject"].append({"name": "runtime/x", "digest": {"sha256": _NONE}}),
        keys="own",
    ),
    "signed with a weaker requirement": _rewritten(_predicate(requirement={"risk": "low", "count": 0}), keys="own"),
    "signed for another project": _rewritten(_predicate(project="flights"), keys="own"),
    "signed with other stages": _rewritten(_predicate(stages={}), keys="own"),
    "signed as another predicate": _rewritten(
        lambda statement, house: statement.update({"predicateType": "https://slsa.dev/provenance/v1"}), keys="own"
    ),
    "signed as another statement": _rewritten(
        lambda statement, house: statement.update({"_type": "https://in-toto.io/Statement/v0.1"}), keys="own"
    ),
    "payload type changed": _envelope(payloadType="application/vnd.other+json"),
    "signature left out": _envelope(signatures=[]),
    "signature emptied": _another_body(lambda body, house: body["envelope"]["signatures"][0].update(sig="")),
    "signature of no base64": _another_body(lambda body, house: body["envelope"]["signatures"][0].update(sig="§")),
    "a second signature": _another_body(
        lambda body, house: body["envelope"]["signatures"].append(body["envelope"]["signatures"][0])
    ),
    "payload of no base64": _envelope(payload="§§§"),
    "envelope of another kind": _another_body(lambda body, house: body.update(envelope="eyJhbGciOiJub25lIn0..")),
    "signature of another model": _another_body(
        lambda body, house: body.update(model_signature=house.attestation(house.other)["model_signature"])
    ),
    "candidate registered with another file": _recompiled,
}
