"""At registration a model's files are let in, scanned, signed and listed, in this order, or nothing of it is loaded."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from path import small
from supply.payloads import pickled
from towpath.adapters.bill_of_materials_cyclonedx import require_valid
from towpath.core import names
from towpath.core.errors import BadInput, Misconfigured
from towpath.core.evidence import Candidate, Outcome, RecordKind
from towpath.core.gates import Stage
from towpath.core.policy import Policy
from towpath.ports import ModelRun, Models, TrainingRun
from towpath.stages.attest import Attesting, verify_files
from towpath.stages.register import register
from towpath.stages.work import Work

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:::mlflow")]


class Poisoned:
    """The port `Models`; what is logged holds a pickle, and its digests are of that. Remembers what it loads."""

    def __init__(self, inner: Models, canary: Path) -> None:
        self._inner = inner
        self._canary = canary
        self.poison = False
        self.loaded: list[str] = []

    def log(self, run: TrainingRun, *, folder: Path) -> ModelRun:
        if self.poison:
            (folder / "weights.txt").write_bytes(pickled(self._canary, protocol=0))
        return self._inner.log(run, folder=folder)

    def load(self, folder: Path) -> Any:
        self.loaded.append(folder.name)
        return self._inner.load(folder)

    def register(self, *arguments: Any, **options: Any) -> Any:
        self.loaded.append("register")
        return self._inner.register(*arguments, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.build(tmp_path_factory.mktemp("supply") / "flights")


@pytest.fixture(scope="module")
def walked(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Work, Candidate]]:
    with small.opened(project, tmp_path_factory.mktemp("walked") / "state") as work:
        yield work, small.walk(work)


def test_the_gates_are_asked_before_the_model_is_registered(walked: tuple[Work, Candidate]) -> None:
    work, candidate = walked
    codes = [finding.code for finding in candidate.entry(Stage.REGISTER).findings]
    wanted = ["register.model", "register.format", "register.scan"]
    assert codes[:3] == wanted
    assert codes[-1] == "register.signature"
    assert set(wanted) | {"register.signature"} <= Policy().gates
    assert candidate.outcome is Outcome.PASS
    attested = verify_files(candidate, Attesting.of(work))
    runtime = candidate.entry(Stage.REGISTER).subjects_of("runtime")
    assert {f"runtime/{name}" for name in runtime} < set(attested.subjects)


def test_a_second_registration_attests_nothing_anew(walked: tuple[Work, Candidate]) -> None:
    work, candidate = walked
    before = Candidate(project=work.name, entries=candidate.entries[:-1])
    assert register(before, work).digest == candidate.digest
    assert len(small.records(work.ports.ledger, RecordKind.ATTESTATION)) == 1


def test_the_bill_of_materials_is_valid_and_says_what_the_model_is_made_of(walked: tuple[Work, Candidate]) -> None:
    work, candidate = walked
    (attached,) = [item for item in candidate.entry(Stage.REGISTER).attachments if item.name == names.BILL]
    text = work.ports.objects.fetch(attached.digest).read_text(encoding="utf-8")
    require_valid(text)
    document = json.loads(text)
    assert document["specVersion"] == "1.6"
    model = document["metadata"]["component"]
    assert model["type"] == "machine-learning-model"
    assert model["hashes"][0]["content"] == candidate.entry(Stage.TRAIN).subject("model").digest.removeprefix("sha256:")
    card = model["modelCard"]
    assert card["modelParameters"]["task"] == "binary classification"
    assert card["modelParameters"]["architectureFamily"] == "HistGradientBoostingClassifier"
    assert {figure["type"] for figure in card["quantitativeAnalysis"]["performanceMetrics"]} >= {"roc_auc", "log_loss"}
    assert card["considerations"]["useCases"] == [work.project.charter.purpose]
    purls = {part.get("purl") for part in document["components"]}
    from importlib.metadata import version

    assert f"pkg:pypi/scikit-learn@{version('scikit-learn')}" in purls
    data = {part["name"]: part for part in document["components"] if part["type"] == "data"}
    train = candidate.entry(Stage.FEATURIZE).subject("features", "train")
    assert data["features/train"]["hashes"][0]["content"] == train.digest.removeprefix("sha256:")
    for reference in card["modelParameters"]["datasets"]:
        assert reference["ref"] in {part["bom-ref"] for part in data.values()}
    with pytest.raises(BadInput, match=r"CycloneDX 1\.6"):
        require_valid(text.replace('"machine-learning-model"', '"machine"'))


def test_the_bill_is_among_the_runs_artifacts(walked: tuple[Work, Candidate]) -> None:
    work, candidate = walked
    run = str(candidate.entry(Stage.TRAIN).notes["run_id"])
    client = work.ports.models.client  # type: ignore[attr-defined]
    listed = [item.path for item in client.list_artifacts(run, names.EVIDENCE_FOLDER)]
    assert f"{names.EVIDENCE_FOLDER}/{names.BILL}" in listed


def test_a_model_with_a_pickle_is_not_loaded_and_not_registered(project: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    with small.opened(project, tmp_path / "state") as work:
        models = Poisoned(work.ports.models, canary)
        work = replace(work, ports=replace(work.ports, models=models))  # type: ignore[arg-type]
        models.poison = True
        evaluated = small.walk(work, until=Stage.EVALUATE)
        models.loaded.clear()
        candidate = register(evaluated, work)
        assert models.loaded == []
        assert not canary.exists()
        assert candidate.outcome is Outcome.FAIL
        failed = {item.code for item in candidate.entry(Stage.REGISTER).findings if item.outcome is not Outcome.PASS}
        assert failed == {"register.format", "register.scan"}
        assert small.records(work.ports.ledger, RecordKind.ATTESTATION) == []
        assert _versions(work) == []
        assert register(evaluated, work).digest == candidate.digest  # found again, and still not attested


def _versions(work: Work) -> Sequence[object]:
    return [found for alias in ("candidate", "champion") if (found := work.ports.models.by_alias(work.name, alias))]


def test_without_a_key_nothing_is_registered(project: Path, tmp_path: Path) -> None:
    with small.opened(project, tmp_path / "state") as work:
        (tmp_path / "state" / "keys" / "model.key").unlink()
        with pytest.raises(Misconfigured, match="no model key"):
            small.walk(work)
        assert _versions(work) == []
