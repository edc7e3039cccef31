"""export: a candidate as a folder that scores rows with numpy and ONNX Runtime alone, its parity measured first."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from towpath.core import digest as digests
from towpath.core.errors import BadInput, Denied, Unwritable
from towpath.core.evidence import Candidate, Finding, Outcome
from towpath.core.gates import Stage
from towpath.core.names import BILL
from towpath.core.policy import Verdict
from towpath.measure.parity import parity, reference
from towpath.ports import Keys, Ledger, Models, Objects, Runtimes
from towpath.stages.attested import require_attested
from towpath.stages.proof import require_crowned
from towpath.stages.scoring import Scoring
from towpath.stages.serving import approved
from towpath.stages.succession import require_whole
from towpath.stages.verdict import rule
from towpath.stages.work import crowning

KIND = "onnx"
MODEL, SIGNATURE, MANIFEST, RUNNER = "model.onnx", "signature.json", "manifest.json", "run.py"


@dataclass(frozen=True, kw_only=True)
class Exporting:
    """What an export asks of the world. `signature` reads what a compiled ONNX file takes and gives."""

    ledger: Ledger
    objects: Objects
    models: Models
    runtimes: Runtimes
    keys: Keys
    signature: Callable[[Path], Mapping[str, object]]
    told: Callable[[str], None]


def export(candidate: Candidate, target: Path, *, tolerance: float, world: Exporting, now: datetime) -> Finding:
    """Write the bundle into a folder that is made; returns the finding of its parity.

    Raises `Denied` for a candidate that neither was champion nor may be promoted now, or whose ONNX form does not
    answer as scikit-learn does; `IntegrityError` when the ledger, the data or the model is not what was recorded, or no
    trusted key states what it is; `BadInput` for a folder that holds something.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise BadInput(f"{target} is there already.", value=str(target), hint="Name a folder that does not exist.")
    require_whole(world.ledger.verify())
    _require_allowed(candidate, world.ledger, now)
    if candidate.outcome is not Outcome.PASS:
        raise Denied(f"{candidate.id} did not pass; it is not exported.", value=candidate.id)
    found = approved(candidate)
    attested = require_attested(world.ledger, world.keys, found.claims)
    with tempfile.TemporaryDirectory(prefix="towpath-export-") as scratch:
        folder = Path(scratch)
        world.told("the model, verified")
        attested.require("saved", found.run.artifact_digest)
        model = world.models.load(world.models.verified(found.run, target=folder / "saved"))
        holdout = candidate.entry(Stage.FEATURIZE).subject("features", "holdout")
        given: dict[str, Any] = {"columns": found.columns, "types": found.types}
        world.told("compile and compare")
        made = world.runtimes.compile(model, folder=folder / "compiled", **given)
        file = next((one.file for one in made if one.kind == KIND), None)
        if file is None:
            raise Denied(
                f"No ONNX form of the model of {candidate.id} is known.",
                value=candidate.id,
                hint="Serve it (`towpath serve`), which scikit-learn can do, or train a model that converts.",
            )
        scoring = Scoring.of(candidate.entry(Stage.TRAIN))
        rows = pd.read_parquet(world.objects.fetch(holdout.digest))
        truth = reference(model, rows, score=lambda frame: scoring.scores(model, frame), width=scoring.width, **given)
        with closing(world.runtimes.open(KIND, file, **given)) as runtime:
            finding = parity(runtime, truth, tolerance=tolerance)
        if finding.outcome is not Outcome.PASS:
            raise Denied(
                f"The ONNX form of {candidate.id} is not exported: {finding.reason}.",
                value=finding.measured,
                hint=f"The charter's serving.parityTolerance is {tolerance:g}.",
            )
        beside = {BILL: _bill(candidate, world.objects)}
        _write(candidate, found.model, file, finding, target, world.signature(file), beside)
    return finding


def _require_allowed(candidate: Candidate, ledger: Ledger, now: datetime) -> None:
    """A bundle serves without asking anybody, so it takes what a promotion takes; a champion proved that when made."""
    crowned = [one for one in crowning(ledger, candidate.project) if one.body["digest"] == candidate.digest]
    if crowned:
        require_crowned(ledger, crowned[-1])
        return
    decision = rule(ledger, candidate, now=now).decision
    if decision.verdict is not Verdict.PROMOTE:
        raise Denied(
            f"{candidate.id} may not be promoted, so it is not exported: {'; '.join(decision.reasons[:3])}.",
            value=candidate.id,
            hint=f"`towpath show {candidate.id}` says what it lacks.",
        )


def _write(
    candidate: Candidate,
    model_digest: str,
    model: Path,
    finding: Finding,
    target: Path,
    signature: Mapping[str, object],
    beside: Mapping[str, Path | None],
) -> None:
    """The bundle appears whole: it is put together beside its place."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as error:
        raise _unwritable(target, error) from error
    try:
        shutil.copyfile(model, folder / MODEL)
        shutil.copyfile(Path(__file__).with_name("edge_run.py"), folder / RUNNER)
        (folder / SIGNATURE).write_text(_json(signature), encoding="utf-8")
        copied = {name: shutil.copyfile(file, folder / name) for name, file in beside.items() if file is not None}
        manifest = {
            "format": 1,
            "project": candidate.project,
            "candidate": candidate.id,
            "digest": candidate.digest,
            "model": model_digest,
            "files": {name: digests.of_file(folder / name) for name in (MODEL, RUNNER, SIGNATURE, *copied)},
            "parity": {"measured": finding.measured, "bound": finding.bound, "rows": finding.sample_size},
        }
        (folder / MANIFEST).write_text(_json(manifest), encoding="utf-8")
        folder.chmod(0o755)
        folder.replace(target)
    except OSError as error:
        raise _unwritable(target, error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _bill(candidate: Candidate, objects: Objects) -> Path | None:
    """The bill of materials; what was registered before there were any has none."""
    found = [item for item in candidate.entry(Stage.REGISTER).attachments if item.name == BILL]
    return objects.fetch(found[0].digest) if found else None


def _json(document: Mapping[str, object]) -> str:
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _unwritable(target: Path, error: OSError) -> Unwritable:
    return Unwritable(
        f"Cannot write {target}: {error.strerror or error}.", value=str(target), hint="Name another folder."
    )
