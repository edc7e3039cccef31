"""A registered candidate without a path: a real model, saved, compiled, signed and recorded in a real ledger."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from adapters.fitted_models import COLUMNS, TYPES, fitted, visits
from towpath import wiring
from towpath.adapters.keys_local import LocalKeys
from towpath.adapters.mlflow_models_saved import folder_digest, load, payload_digest, save
from towpath.core import digest as digests
from towpath.core.errors import IntegrityError
from towpath.core.evidence import Candidate, Entry, Finding, Outcome, Record, RecordKind, Subject
from towpath.ports import Draft, Ledger, ModelRun, Runtime
from towpath.settings import Settings
from towpath.stages import attest as attesting
from towpath.stages.attest import Attesting
from towpath.stages.attested import require_attested
from towpath.stages.serving import approved
from towpath.stages.serving import load as serve

PROJECT = "visits"
NOW = datetime(2024, 3, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Good:
    """Two good models, each saved and compiled: `saved` and `compiled` of the first, and those of another."""

    saved: Path
    compiled: Path
    other_saved: Path
    other_compiled: Path


def make_good(folder: Path) -> Good:
    made: list[Path] = []
    for number, kind in enumerate(("boosted", "linear")):
        made += _one(kind, folder / str(number))
    return Good(saved=made[0], compiled=made[1], other_saved=made[2], other_compiled=made[3])


def _one(kind: str, folder: Path) -> tuple[Path, Path]:
    model: Any = fitted(kind)
    rows: pd.DataFrame = visits(50)[0]
    save(model, example=rows, prediction=model.predict_proba(rows)[:, 1], folder=folder / "saved")
    runtimes = wiring.open_runtimes(Settings.read({}, folder=folder))
    made = runtimes.compile(model, columns=COLUMNS, types=TYPES, folder=folder / "compiled")
    return folder / "saved", next(one.file for one in made if one.kind == "onnx")


class FolderModels:
    """The port `Models` as far as loading needs it: saved folders by their run, verified as MLflow's are."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def verified(self, run: ModelRun, *, target: Path) -> Path:
        shutil.copytree(self.root / run.model_id, target / "model", symlinks=True)
        try:
            found = payload_digest(target / "model"), folder_digest(target / "model")
        except (OSError, UnicodeDecodeError) as error:
            raise IntegrityError(f"incomplete: {error}", gate="integrity.model") from error
        if found != (run.model_digest, run.artifact_digest):
            raise IntegrityError("the stored model has another digest", gate="integrity.model")
        return target / "model"

    def load(self, folder: Path) -> Any:
        return load(folder)


class Without:
    """The ledger without some of its records."""

    def __init__(self, ledger: Ledger, hidden: list[Record]) -> None:
        self._ledger = ledger
        self._hidden = hidden

    def records(self, **chosen: Any) -> Iterable[Record]:
        return (record for record in self._ledger.records(**chosen) if record not in self._hidden)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)


@dataclass(kw_only=True)
class House:
    """A ledger, an object store, keys, and the models of two candidates."""

    state: Path
    world: Attesting
    keys: LocalKeys
    candidate: Candidate
    other: Candidate
    hidden: list[Record] = field(default_factory=list)
    """Records that somebody with the right to edit the database took out."""

    def load(self, *, compiled: bool = True, known: Sequence[Record] = ()) -> Runtime:
        """As gateway and batch do."""
        found = approved(self.candidate)
        return serve(
            found,
            found.runtime if compiled else None,
            attested=require_attested(
                Without(self.world.ledger, self.hidden), self.world.keys, found.claims, known=known
            ),
            objects=self.world.objects,
            models=lambda: self.world.models,
            runtimes=wiring.open_runtimes(Settings.read({}, folder=self.state)),
            folder=self.state / "loading",
        )

    def object(self, digest: str) -> Path:
        """Where an object lies, made writable, for who swaps it in place."""
        name = digest.removeprefix("sha256:")
        file = self.state / "objects" / name[:2] / name[2:]
        file.chmod(0o644)
        return file

    def saved(self) -> Path:
        return self.state / "models" / "first"

    def write(self, body: dict[str, Any], candidate: Candidate | None = None) -> None:
        """An attestation of the house's candidate as somebody with the right to write the ledger may put it there."""
        of = candidate or self.candidate
        self.world.ledger.append(
            Draft(
                kind=RecordKind.ATTESTATION,
                project=PROJECT,
                candidate=of.id,
                stage="register",
                key=None,
                digest=digests.of_json(body),
                body=body,
            ),
            actor="mallory",
        )

    def attestation(self, candidate: Candidate) -> dict[str, Any]:
        record = next(iter(self.world.ledger.records(candidate=candidate.id, kind=RecordKind.ATTESTATION)))
        return dict(record.body)

    def attest(self) -> None:
        attesting.attest_again(self.candidate, self.world)


@contextmanager
def template(good: Good, folder: Path) -> Iterator[House]:
    """Two registered candidates of one project; the other one is attested."""
    state = folder / "state"
    shutil.copytree(good.saved, state / "models" / "first")
    shutil.copytree(good.other_saved, state / "models" / "second")
    with opened(state) as (world, keys):
        house = House(
            state=state,
            world=world,
            keys=keys,
            candidate=registered(world, state / "models" / "first", good.compiled, "first"),
            other=registered(world, state / "models" / "second", good.other_compiled, "second"),
        )
        attesting.attest_again(house.other, world)
        yield house


@contextmanager
def copied(built: House, folder: Path, *, attested: bool) -> Iterator[House]:
    """A house of one's own."""
    state = Path(shutil.copytree(built.state, folder / "state"))
    with opened(state) as (world, keys):
        house = House(state=state, world=world, keys=keys, candidate=built.candidate, other=built.other)
        if attested:
            house.attest()
        yield house


@contextmanager
def opened(state: Path) -> Iterator[tuple[Attesting, LocalKeys]]:
    settings = Settings.read({"TOWPATH_STATE": str(state), "TOWPATH_ACTOR": "tester"}, folder=state.parent)
    keys = wiring.open_keys(settings)
    assert isinstance(keys, LocalKeys)
    with closing(wiring.open_ledger(settings)) as ledger:
        world = wiring.open_attesting(settings, ledger=ledger, actor="tester")
        models = FolderModels(state / "models")
        yield replace(world, models=models, keys=keys), keys  # type: ignore[arg-type]


def registered(world: Attesting, saved: Path, compiled: Path, name: str, *, kind: str = "onnx") -> Candidate:
    """The entries that loading reads, with the ledger's records of them."""
    model = Subject(kind="model", name=PROJECT, digest=payload_digest(saved))
    runtime = Subject(kind="runtime", name=kind, digest=world.objects.put(compiled), size=compiled.stat().st_size)
    charter = Subject(kind="charter", name=PROJECT, digest="sha256:" + "c" * 64)
    notes: dict[str, dict[str, Any]] = {
        "train": {"run_id": name, "model_id": name, "artifact_digest": folder_digest(saved)},
        "register": {"registered_model": PROJECT, "version": "1"},
    }
    facts: dict[str, dict[str, Any]] = {
        "featurize": {"views": {}, "window": ["2024-01-01T00:00:00+00:00", "2024-02-01T00:00:00+00:00"]},
        "train": {"inputs": list(COLUMNS), "types": dict(TYPES)},
        "register": {"charter": {"governance": {"risk": "high", "count": 2}}},
    }
    subjects = {"train": (model,), "register": (charter, model, runtime)}
    candidate = Candidate(project=PROJECT)
    for stage in ("featurize", "train", "register"):
        entry = Entry(
            stage=stage,
            project=PROJECT,
            key=f"{name}-{stage}",
            previous=candidate.digest,
            inputs={"name": name},
            subjects=subjects.get(stage, ()),
            findings=(Finding(code="x", outcome=Outcome.PASS, reason="good"),),
            facts=facts[stage],
            notes=notes.get(stage, {}),
        )
        candidate = candidate.append(entry)
        world.ledger.append(
            Draft(
                kind=RecordKind.ENTRY,
                project=PROJECT,
                candidate=candidate.id,
                stage=stage,
                key=entry.key,
                digest=entry.digest,
                body=entry.model_dump(mode="json"),
            ),
            actor="tester",
        )
    return candidate
