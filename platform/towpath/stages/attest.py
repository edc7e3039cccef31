"""attest: the model's files signed, and a signed statement of what the candidate is, written to the ledger.

The OpenSSF signature covers every file and is for whoever has the files; the statement binds them to the candidate, and
is what `stages.attested` proves before a model is loaded.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Self

from pydantic import JsonValue

from towpath.core import digest as digests
from towpath.core import statement as statements
from towpath.core.errors import IntegrityError, NotFound
from towpath.core.evidence import Candidate, Finding, Outcome, Record, RecordKind
from towpath.core.gates import Stage
from towpath.core.keyless import Keyless
from towpath.ports import (
    Certified,
    CertifiedKey,
    Draft,
    Identified,
    Keys,
    Ledger,
    Models,
    Objects,
    Purpose,
    Stamp,
    TrustedKey,
)
from towpath.ports.keys import Signatory
from towpath.stages import scratch
from towpath.stages.attested import Attested, attestations, named, require_attested, untrusted
from towpath.stages.serving import approved
from towpath.stages.supply import SIGNATURE, Supply
from towpath.stages.work import Work

MODEL, RUNTIME = "model", "runtime"
"""The signed folder: the saved model in `model`, the compiled files in `runtime`, by their subject's name."""
_NOTE: Final = "registered_model_meta"  # MLflow adds it to a registered model; no digest of ours covers it


@dataclass(frozen=True, kw_only=True)
class Attesting:
    """What attesting asks of the world."""

    ledger: Ledger
    objects: Objects
    models: Models
    keys: Keys
    supply: Supply
    scratch: Path
    actor: str

    @classmethod
    def of(cls, work: Work) -> Self:
        """The same, of somebody who goes along the path."""
        ports = work.ports
        return cls(
            ledger=ports.ledger,
            objects=ports.objects,
            models=ports.models,
            keys=ports.keys,
            supply=ports.supply,
            scratch=work.state / "scratch",
            actor=work.actor,
        )


@dataclass(frozen=True, kw_only=True)
class Signed:
    """A model's files as they were signed: the bundle's digest in the object store, and who signed."""

    bundle: str
    signatory: Signatory

    @property
    def key_id(self) -> str:
        """The id of the key, of the certificate or of the identity."""
        return self.signatory.key_id

    @property
    def once(self) -> str:
        """What a candidate is attested with once: a key, a certificate, and of an identity each certificate."""
        return self.signatory.certificate if isinstance(self.signatory, Identified) else self.key_id

    @property
    def finding(self) -> Finding:
        """Volatile: another installation signs the same model with another key."""
        return Finding(
            code=SIGNATURE,
            outcome=Outcome.PASS,
            measured=self.key_id,
            bound="a trusted key",
            reason=f"every file is signed by {named(self.signatory)}, and the signature verifies",
            volatile=True,
        )


def sign(saved: Path, compiled: Mapping[str, Path], world: Attesting) -> Signed:
    """Sign the saved folder and the compiled files by name, verify the signature, store it.

    Raises `Misconfigured` where nothing signs models, `IntegrityError` when the signature does not verify or counts for
    nothing.
    """
    private = world.keys.private(Purpose.MODEL)
    with _laid_out(saved, compiled, world.scratch) as (folder, bundle):
        world.supply.signer.sign(folder, key=private, bundle=bundle)
        if isinstance(private, CertifiedKey | Keyless):
            signatory: Signatory = _vouched(bundle, world)
        else:
            key_id = str(world.keys.key_id(Purpose.MODEL))
            trusted = world.keys.trusted(Purpose.MODEL).get(key_id)
            if trusted is None or trusted.revoked_at is not None:
                raise untrusted(key_id, "the model", revoked=trusted is not None)
            signatory = trusted
        world.supply.signer.verify(folder, key=signatory, bundle=bundle)
        return Signed(bundle=world.objects.put(bundle), signatory=signatory)


def attest(candidate: Candidate, signed: Signed, world: Attesting) -> Record:
    """Write the attestation of a registered candidate; once for each key.

    Raises `IntegrityError` where another signs by now than signed the files.
    """
    claims = statements.claims(candidate)
    envelope, stamp = world.supply.statements.signed(claims, model_signature=signed.bundle, keys=world.keys)
    if stamp.key_id != signed.key_id:
        raise IntegrityError(
            f"The files of {candidate.id} are signed by {named(signed.signatory)}, its statement by another signer.",
            gate=statements.GATE,
            value=stamp.key_id,
            hint=f"What signs models was replaced meanwhile. Sign both anew: `towpath model attest {candidate.id}`.",
        )
    body: dict[str, JsonValue] = {"envelope": envelope, "model_signature": signed.bundle}
    if stamp.material is not None:
        body["verification_material"] = dict(stamp.material)
    return world.ledger.append(
        Draft(
            kind=RecordKind.ATTESTATION,
            project=candidate.project,
            candidate=candidate.id,
            stage=Stage.REGISTER.value,
            key=digests.of_json({"attest": candidate.digest, "key": signed.once}),
            digest=digests.of_json(body),
            body=body,
        ),
        actor=world.actor,
    )


def attest_first(candidate: Candidate, world: Attesting) -> None:
    """Attest a candidate that never was: who registered it was killed before. One whose key was revoked stays refused,
    for that takes more than to register it again."""
    if not attestations(world.ledger, statements.claims(candidate)):
        attest_again(candidate, world)


def attest_again(candidate: Candidate, world: Attesting) -> Record:
    """Attest what was registered: fetch and verify its bytes, read them with the scanner, sign them with today's key.

    Raises `IntegrityError` for other bytes than were recorded, and for files that the scanner refuses.
    """
    with fetched(candidate, world) as (saved, compiled):
        with _laid_out(saved, compiled, world.scratch) as (folder, _):
            found = world.supply.scanner.inspect(folder, subject=candidate.id)
        bad = [finding for finding in found if finding.outcome is not Outcome.PASS]
        if bad:
            raise IntegrityError(
                f"{candidate.id} is not attested: {bad[0].reason}.", gate=bad[0].code, value=candidate.id
            )
        return attest(candidate, sign(saved, compiled, world), world)


def verify_files(candidate: Candidate, world: Attesting) -> Attested:
    """Prove the attestation, then the OpenSSF signature over every stored file. Raises `IntegrityError`, which names
    the files that are not those signed."""
    found = require_attested(world.ledger, world.keys, statements.claims(candidate))
    bundle = _stored(world.objects, found)
    with fetched(candidate, world) as (saved, compiled), _laid_out(saved, compiled, world.scratch) as (folder, _):
        signatory = found.signatory
        if not isinstance(signatory, TrustedKey):
            signatory = _vouched(bundle, world, at=found.at)
            if signatory.key_id != found.key_id:
                raise untrusted(signatory.key_id, f"the files of {candidate.id}", revoked=False)
        world.supply.signer.verify(folder, key=signatory, bundle=bundle)
    return found


def _vouched(bundle: Path, world: Attesting, *, at: datetime | None = None) -> Certified | Identified:
    """Who signed the files, by what comes with their signature; `at`: when it was recorded, by default now."""
    try:
        document = json.loads(bundle.read_text(encoding="utf-8"))
    except ValueError as error:
        raise IntegrityError(
            "The model's signature is no Sigstore bundle.", gate="integrity.model", value=bundle.name
        ) from error
    key_id, signature, payload, material = statements.opened(document)
    return world.keys.vouched(Stamp(key_id=key_id, signature=signature, material=material), payload, at=at)


@contextmanager
def fetched(candidate: Candidate, world: Attesting) -> Iterator[tuple[Path, dict[str, Path]]]:
    """The saved folder and the compiled files by name, their bytes those recorded."""
    run = approved(candidate).run
    with scratch.made(world.scratch) as folder:
        saved = world.models.verified(run, target=folder / "saved")
        compiled = {
            name: world.objects.fetch(subject.digest)
            for name, subject in candidate.entry(Stage.REGISTER).subjects_of("runtime").items()
        }
        yield saved, compiled


def _stored(objects: Objects, found: Attested) -> Path:
    try:
        return objects.fetch(found.model_signature)
    except NotFound as error:
        raise IntegrityError(
            f"The signature of the model of {found.candidate} is not in the object store.",
            gate="integrity.model",
            value=found.model_signature,
        ) from error


@contextmanager
def _laid_out(saved: Path, compiled: Mapping[str, Path], home: Path) -> Iterator[tuple[Path, Path]]:
    """One folder of everything that is signed, and a place for the signature beside it. Links stay links."""
    with scratch.made(home) as folder:
        whole = folder / "candidate"
        shutil.copytree(saved, whole / MODEL, symlinks=True, copy_function=_linked, ignore=_note)
        for name, file in compiled.items():
            (whole / RUNTIME).mkdir(exist_ok=True)
            _linked(str(file), str(whole / RUNTIME / name))
        yield whole, folder / "model.sig"


def _note(folder: str, names: list[str]) -> set[str]:  # noqa: ARG001 - as copytree asks
    return {_NOTE} & set(names)


def _linked(source: str, target: str) -> str:
    """A second name of the same file where that can be, else a copy."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)
    return target
