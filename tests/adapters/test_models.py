"""Models in MLflow on SQLite: the same model, the same digest; changed bytes, unknown types and pickles are refused."""

from __future__ import annotations

import io
import json
import os
import pickle
import socket
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from towpath.adapters.mlflow_models import MlflowModels
from towpath.adapters.skops_file import canonicalise
from towpath.core import names
from towpath.core.errors import (
    BadInput,
    DeclarationError,
    IntegrityError,
    Misconfigured,
    NotFound,
    Unreachable,
    Unwritable,
)
from towpath.ports import ModelRun, Models, RegisteredModel, TrainingRun

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

KINDS = ("boosted", "linear", "calibrated")


def visits(rows: int = 300) -> tuple[pd.DataFrame, pd.Series[Any]]:
    draw = np.random.default_rng(3)
    frame = pd.DataFrame(
        {
            "pages": draw.integers(1, 9, rows),
            "minutes": np.where(draw.random(rows) < 0.1, np.nan, draw.normal(5, 2, rows)),
            "source": draw.choice(["mail", "search", "ad"], rows),
        }
    )
    return frame, (frame["pages"] + draw.normal(0, 2, rows) > 5).astype(int)


def fitted(kind: str) -> Any:
    """A model of visits. One transformer is called `file`, as skops calls the parts of its archive."""
    frame, target = visits()
    numbers, words = ["pages", "minutes"], ["source"]
    if kind == "linear":
        shaped = ColumnTransformer([("file", StandardScaler(), ["pages"]), ("source", OneHotEncoder(), words)])
        return make_pipeline(shaped, LogisticRegression(class_weight={0: 1.0, 1: 2.0})).fit(frame, target)
    shaped = ColumnTransformer([("file", "passthrough", numbers), ("source", OrdinalEncoder(), words)])
    boosted = HistGradientBoostingClassifier(max_iter=8, random_state=1)
    if kind == "calibrated":
        boosted = CalibratedClassifierCV(boosted, cv=2)
    return make_pipeline(shaped, boosted).fit(frame, target)


def save(models: Models, folder: Path, model: Any) -> str:
    frame, _ = visits()
    return models.save(model, example=frame, prediction=model.predict_proba(frame)[:, 1], folder=folder)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where MLflow keeps its database and its artifacts."""
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture(scope="module")
def models(home: Path) -> MlflowModels:
    """One tracking database for all: each test has an experiment of its own."""
    return MlflowModels(f"sqlite:///{home / 'mlflow.db'}", artifacts=(home / "artifacts").as_uri())


@pytest.fixture(scope="module")
def template(models: MlflowModels, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A saved model and its digest. Nobody writes into it."""
    folder = tmp_path_factory.mktemp("template") / "model"
    return folder, save(models, folder, fitted("boosted"))


@pytest.fixture
def saved(template: tuple[Path, str], tmp_path: Path) -> Path:
    return copy(template[0], tmp_path / "saved")


@pytest.fixture
def experiment(request: pytest.FixtureRequest) -> str:
    return str(request.node.name).replace("[", "-").replace("]", "")


def copy(source: Path, target: Path) -> Path:
    for file in source.rglob("*"):
        if file.is_file():
            there = target / file.relative_to(source)
            there.parent.mkdir(parents=True, exist_ok=True)
            there.write_bytes(file.read_bytes())
    return target


def run_of(experiment: str, model_digest: str, *, key: str = "sha256:key", **changed: Any) -> TrainingRun:
    given: dict[str, Any] = {
        "experiment": experiment,
        "name": "a training",
        "params": {"max_iter": "8"},
        "metrics": {"inner_roc_auc": 0.75},
        "tags": {names.TAG_KEY: key, names.TAG_MODEL: model_digest, names.TAG_PROJECT: "visits"},
        "dataset": Path("train.parquet"),
        "dataset_digest": "sha256:" + "5" * 64,
        "environment": {"python": "3.12"},
        "children": [
            ("trial 1", {"max_iter": "8"}, {"roc_auc": 0.75}),
            ("trial 2", {"max_iter": "9"}, {"roc_auc": 0.7}),
        ],
    }
    return TrainingRun(**{**given, **changed})


def runs(models: MlflowModels, experiment: str) -> dict[str, Any]:
    """The runs that are not deleted, by identifier."""
    found = models.client.get_experiment_by_name(experiment)
    return {run.info.run_id: run for run in models.client.search_runs([found.experiment_id])}


def stored(models: MlflowModels, run: ModelRun) -> Path:
    """The folder in which the server keeps the model."""
    return Path(models.client.get_logged_model(run.model_id).artifact_location.removeprefix("file://"))


# -- saving and loading --------------------------------------------------------------------------------------------

SCRIPT = """
import sys; sys.path[:0] = {path!r}
from pathlib import Path
from adapters.test_models import KINDS, MlflowModels, fitted, save
for kind in KINDS:
    print(kind, save(MlflowModels("sqlite://", artifacts=None), Path({folder!r}) / kind, fitted(kind)))
"""


@pytest.mark.slow
def test_equal_models_of_two_processes_have_equal_digests(models: MlflowModels, tmp_path: Path) -> None:
    """Whatever their hash seed and their number of threads."""
    begun = []
    for seed in ("1", "2"):
        script = SCRIPT.format(path=sys.path, folder=str(tmp_path / seed))
        environment = {**os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": seed}
        begun.append(
            subprocess.Popen([sys.executable, "-W", "ignore", "-c", script], stdout=-1, env=environment, text=True)
        )
    here = {kind: save(models, tmp_path / kind, fitted(kind)) for kind in KINDS}
    for process in begun:
        out, _ = process.communicate(timeout=240)
        assert process.returncode == 0
        assert dict(line.split() for line in out.splitlines()) == here
    assert len(set(here.values())) == len(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_comes_back_as_it_was(models: MlflowModels, tmp_path: Path, kind: str) -> None:
    model, (frame, _) = fitted(kind), visits()
    digest = save(models, tmp_path / "model", model)
    again = models.load(tmp_path / "model")
    np.testing.assert_array_equal(again.predict_proba(frame), model.predict_proba(frame))
    assert again[0].output_indices_ == model[0].output_indices_
    assert list(again[0].named_transformers_) == list(model[0].named_transformers_)
    assert "file" in again[0].named_transformers_
    canonicalise(tmp_path / "model" / "model.skops")
    np.testing.assert_array_equal(models.load(tmp_path / "model").predict_proba(frame), model.predict_proba(frame))
    assert save(models, tmp_path / "again", again) == digest, "what is loaded is the model that was saved"


def test_whether_equal_values_are_one_object_in_memory_says_nothing(tmp_path: Path) -> None:
    """Python shares equal numbers and texts now and then, and skops writes down which."""
    from skops.io import dump

    shared, files = float("1.5"), [tmp_path / "shared.skops", tmp_path / "apart.skops"]
    for file, weights in zip(files, [(shared, shared), (float("1.5"), float("1.5"))], strict=True):
        dump(LogisticRegression(class_weight=dict(enumerate(weights))), file)
        canonicalise(file)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_another_model_or_another_signature_is_another_digest(models: MlflowModels, tmp_path: Path) -> None:
    model, (frame, target) = fitted("boosted"), visits()
    digest = save(models, tmp_path / "model", model)
    for name, other in (("seed", model.__sklearn_clone__().set_params(histgradientboostingclassifier__max_iter=9)),):
        assert save(models, tmp_path / name, other.fit(frame, target)) != digest
    floats = frame.astype({"pages": "float64"})
    prediction = model.predict_proba(floats)[:, 1]
    assert models.save(model, example=floats, prediction=prediction, folder=tmp_path / "typed") != digest


def test_a_type_that_nobody_reviewed_is_not_saved(models: MlflowModels, tmp_path: Path) -> None:
    tree = DecisionTreeClassifier(max_depth=2).fit(visits()[0][["pages"]], visits()[1])
    with pytest.raises(
        DeclarationError, match=r"types that nobody reviewed.*sklearn\.tree\._tree\.Tree.*TRUSTED_TYPES"
    ):
        models.save(tree, example=visits()[0][["pages"]], prediction=np.zeros(300), folder=tmp_path / "model")


def test_a_function_of_ones_own_is_not_saved(models: MlflowModels, tmp_path: Path) -> None:
    own = make_pipeline(FunctionTransformer(lambda frame: frame * 2), LogisticRegression())
    own.fit(visits()[0][["pages"]], visits()[1])
    with pytest.raises((DeclarationError, BadInput)):
        models.save(own, example=visits()[0][["pages"]], prediction=np.zeros(300), folder=tmp_path / "model")


def test_a_models_own_list_of_trusted_types_is_not_believed(models: MlflowModels, saved: Path) -> None:
    from skops.io import dump

    dump(DecisionTreeClassifier().fit([[0], [1]], [0, 1]), saved / "model.skops")
    metadata = yaml.safe_load((saved / "MLmodel").read_text())
    metadata["flavors"]["sklearn"]["skops_trusted_types"] = ["sklearn.tree._tree.Tree"]
    (saved / "MLmodel").write_text(yaml.safe_dump(metadata))
    with pytest.raises(DeclarationError, match=r"nobody reviewed.*sklearn\.tree\._tree\.Tree"):
        models.load(saved)


class Bomb:
    """Unpickled, it makes the folder it names."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def test_a_pickle_is_never_loaded(models: MlflowModels, saved: Path, tmp_path: Path) -> None:
    mark = tmp_path / "gone off"
    bomb = pickle.dumps(Bomb(mark))
    (saved / "model.skops").write_bytes(bomb)
    with pytest.raises(IntegrityError, match=r"model\.skops is no model that can be read") as caught:
        models.load(saved)
    assert caught.value.gate == "integrity.model"
    (saved / "model.skops").unlink()
    (saved / "model.pkl").write_bytes(bomb)
    with pytest.raises(NotFound, match=r"no model\.skops .*Only skops models are loaded"):
        models.load(saved)
    assert not mark.exists()
    pickle.loads(bomb)
    assert mark.exists(), "the bomb is live"


def test_a_pickle_inside_an_array_is_never_loaded(models: MlflowModels, saved: Path, tmp_path: Path) -> None:
    mark = tmp_path / "gone off"
    array = io.BytesIO()
    np.save(array, np.array([Bomb(mark)], dtype=object), allow_pickle=True)
    file = saved / "model.skops"
    with zipfile.ZipFile(file) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, array.getvalue() if name.endswith(".npy") else data)
    with pytest.raises(IntegrityError, match="pickle"):
        models.load(saved)
    assert not mark.exists()


@pytest.mark.parametrize("damage", ["cut", "no schema", "empty"])
def test_a_damaged_file_is_refused(models: MlflowModels, saved: Path, damage: str) -> None:
    file = saved / "model.skops"
    whole = file.read_bytes()
    file.write_bytes({"cut": whole[: len(whole) // 2], "no schema": whole, "empty": b""}[damage])
    if damage == "no schema":
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("other.json", "{}")
    with pytest.raises(IntegrityError, match=r"no model that can be read"):
        models.load(saved)


def test_an_archive_with_parts_that_its_schema_does_not_name(saved: Path) -> None:
    file = saved / "model.skops"
    before = file.read_bytes()
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("stowaway.npy", b"")
    with pytest.raises(ValueError, match=r"files that its schema does not name: \['stowaway\.npy'\]"):
        canonicalise(file)
    assert file.read_bytes() != before
    with zipfile.ZipFile(file) as archive:
        assert "stowaway.npy" in archive.namelist(), "a refused file is left as it is"


def test_a_canonical_file_stays_as_it_is(saved: Path) -> None:
    file = saved / "model.skops"
    before = file.read_bytes()
    canonicalise(file)
    assert file.read_bytes() == before
    with zipfile.ZipFile(file) as archive:
        assert {item.date_time for item in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert archive.namelist()[:2] == ["000000.npy", "000001.npy"]
        assert json.loads(archive.read("schema.json"))["__class__"] == "Pipeline"


# -- tracking ------------------------------------------------------------------------------------------------------


def test_a_run_tells_everything_that_made_the_model(
    models: MlflowModels, template: tuple[Path, str], saved: Path, experiment: str, tmp_path: Path
) -> None:
    logged = models.log(run_of(experiment, template[1]), folder=saved)
    assert logged.model_digest == template[1]
    found = runs(models, experiment)
    run = found.pop(logged.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"max_iter": "8"}
    assert run.data.metrics == {"inner_roc_auc": 0.75}
    assert run.data.tags[names.TAG_PROJECT] == "visits"
    assert run.inputs.dataset_inputs[0].dataset.source == "sha256:" + "5" * 64
    trials = {child.info.run_name: child for child in found.values()}
    assert set(trials) == {"trial 1", "trial 2"}
    assert {child.data.tags["mlflow.parentRunId"] for child in found.values()} == {logged.run_id}
    assert trials["trial 2"].data.params == {"max_iter": "9"}
    (tmp_path / "card.md").write_text("# A card\n")
    models.attach(logged.run_id, [tmp_path / "card.md"], folder="evidence")
    assert [item.path for item in models.client.list_artifacts(logged.run_id, "evidence")] == ["evidence/card.md"]
    assert stored(models, logged).is_relative_to(Path(models.artifacts.removeprefix("file://")) / experiment)


def test_the_same_key_finds_the_same_run(
    models: MlflowModels, template: tuple[Path, str], saved: Path, experiment: str, tmp_path: Path
) -> None:
    first = models.log(run_of(experiment, template[1]), folder=saved)
    again = models.log(run_of(experiment, template[1]), folder=copy(template[0], tmp_path / "again"))
    assert again == first
    assert len(runs(models, experiment)) == 3
    other = models.log(run_of(experiment, template[1], key="sha256:other", children=()), folder=saved)
    assert other.run_id != first.run_id
    assert len(runs(models, experiment)) == 4


def test_a_run_that_never_finished_is_replaced(
    models: MlflowModels, template: tuple[Path, str], saved: Path, experiment: str, tmp_path: Path
) -> None:
    """The folder without its metadata stops the run when its trials are written and its model is half stored."""
    broken = tmp_path / "broken"
    broken.mkdir()
    with pytest.raises(FileNotFoundError):
        models.log(run_of(experiment, template[1]), folder=broken)
    left = runs(models, experiment)
    assert len(left) == 3
    identifier = models.client.get_experiment_by_name(experiment).experiment_id
    assert len(models.client.search_logged_models([identifier])) == 1
    logged = models.log(run_of(experiment, template[1]), folder=saved)
    found = runs(models, experiment)
    assert len(found) == 3
    assert not set(found) & set(left)
    assert [model.model_id for model in models.client.search_logged_models([identifier])] == [logged.model_id]
    assert models.verified(logged, target=tmp_path / "verified").is_dir()


def test_a_finished_run_of_another_model_is_left_alone(
    models: MlflowModels, template: tuple[Path, str], saved: Path, experiment: str, tmp_path: Path
) -> None:
    """Somebody else's, on another machine, perhaps registered long ago."""
    theirs = models.log(run_of(experiment, "sha256:" + "7" * 64), folder=copy(template[0], tmp_path / "theirs"))
    ours = models.log(run_of(experiment, template[1]), folder=saved)
    assert ours.run_id != theirs.run_id
    assert {theirs.run_id, ours.run_id} < set(runs(models, experiment))
    assert models.log(run_of(experiment, template[1]), folder=saved) == ours


def test_an_experiment_that_was_deleted(
    models: MlflowModels, template: tuple[Path, str], saved: Path, experiment: str
) -> None:
    models.client.delete_experiment(models.client.create_experiment(experiment))
    with pytest.raises(
        Misconfigured, match=rf"experiment '{experiment}' .* was deleted.*mlflow experiments restore -x \d+"
    ):
        models.log(run_of(experiment, template[1]), folder=saved)


# -- the stored bytes ----------------------------------------------------------------------------------------------


@pytest.fixture
def logged(models: MlflowModels, template: tuple[Path, str], saved: Path, experiment: str) -> ModelRun:
    return models.log(run_of(experiment, template[1], children=()), folder=saved)


def test_the_stored_model_is_the_recorded_one(models: MlflowModels, logged: ModelRun, tmp_path: Path) -> None:
    folder = models.verified(logged, target=tmp_path / "verified")
    frame, _ = visits()
    np.testing.assert_array_equal(models.load(folder).predict_proba(frame), fitted("boosted").predict_proba(frame))


def test_one_changed_byte_is_an_integrity_error(models: MlflowModels, logged: ModelRun, tmp_path: Path) -> None:
    file = stored(models, logged) / "model.skops"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(IntegrityError, match=r"stored model's payload has digest .* was recorded") as caught:
        models.verified(logged, target=tmp_path / "verified")
    assert caught.value.gate == "integrity.model"
    assert "Do not serve it" in caught.value.hint


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda folder: (folder / "requirements.txt").write_text("evil==1\n"), "folder has digest"),
        (lambda folder: (folder / "extra.py").write_text("print()\n"), "folder has digest"),
        (lambda folder: (folder / "model.skops").unlink(), "is incomplete"),
        (lambda folder: (folder / "MLmodel").write_text("a: [b"), "is incomplete"),
        (lambda folder: folder.rename(folder.with_name("elsewhere")), "is incomplete"),
    ],
    ids=["requirements", "extra file", "no payload", "no yaml", "no folder"],
)
def test_any_other_change_is_an_integrity_error(
    models: MlflowModels, logged: ModelRun, tmp_path: Path, change: Any, says: str
) -> None:
    change(stored(models, logged))
    with pytest.raises(IntegrityError, match=says) as caught:
        models.verified(logged, target=tmp_path / "verified")
    assert caught.value.gate == "integrity.model"


def test_a_model_that_is_gone_from_the_server(models: MlflowModels, logged: ModelRun, tmp_path: Path) -> None:
    models.client.delete_logged_model(logged.model_id)
    with pytest.raises(IntegrityError, match=r"is incomplete.*not found"):
        models.verified(logged, target=tmp_path / "verified")


# -- the registry --------------------------------------------------------------------------------------------------


def test_registering_twice_gives_one_version(
    models: MlflowModels, logged: ModelRun, experiment: str, tmp_path: Path
) -> None:
    first = models.register(experiment, logged, tags={"towpath.outcome": "PASS"}, alias="candidate")
    again = models.register(experiment, logged, tags={"towpath.outcome": "FAIL"}, alias="candidate")
    assert (first.version, again.version) == ("1", "1")
    assert len(models.client.search_model_versions(f"name = '{experiment}'")) == 1
    assert again == models.by_alias(experiment, "candidate")
    assert again == RegisteredModel(
        name=experiment, version="1", run_id=logged.run_id, tags={"towpath.outcome": "FAIL"}
    )
    assert models.verified(logged, target=tmp_path / "verified").is_dir(), "registering changes no digest"


def test_another_run_is_another_version_and_takes_the_alias(
    models: MlflowModels, template: tuple[Path, str], logged: ModelRun, experiment: str, tmp_path: Path
) -> None:
    models.register(experiment, logged, tags={}, alias="candidate")
    models.promote(experiment, "1", alias="champion", tags={"towpath.decision": "PROMOTE"})
    second = run_of(experiment, template[1], key="sha256:second", children=())
    newer = models.log(second, folder=copy(template[0], tmp_path / "second"))
    assert models.register(experiment, newer, tags={"a": "b"}, alias="candidate").version == "2"
    candidate, champion = (models.by_alias(experiment, alias) for alias in ("candidate", "champion"))
    assert candidate is not None
    assert champion is not None
    assert (candidate.version, candidate.run_id) == ("2", newer.run_id)
    assert (champion.version, champion.run_id, champion.tags) == ("1", logged.run_id, {"towpath.decision": "PROMOTE"})


def test_an_alias_that_nobody_gave(models: MlflowModels, logged: ModelRun, experiment: str) -> None:
    assert models.by_alias(experiment, "champion") is None
    models.register(experiment, logged, tags={}, alias="candidate")
    assert models.by_alias(experiment, "champion") is None
    assert models.by_alias(experiment, "candidate") is not None


def test_a_version_that_does_not_exist(models: MlflowModels, experiment: str) -> None:
    with pytest.raises(NotFound, match="not found"):
        models.promote(experiment, "7", alias="champion", tags={"a": "b"})


# -- the world -----------------------------------------------------------------------------------------------------


def closed_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
    return port


@pytest.mark.parametrize("scheme", ["http", "postgresql"])
def test_a_server_that_does_not_answer(scheme: str, template: tuple[Path, str], tmp_path: Path) -> None:
    """At once, and without telling its password."""
    away = MlflowModels(f"{scheme}://someone:sesame@127.0.0.1:{closed_port()}/db", artifacts=None)
    run = ModelRun(run_id="run", model_id="m-1", model_digest="", artifact_digest="")
    uses: Mapping[str, Any] = {
        "by_alias": lambda: away.by_alias("visits", "champion"),
        "log": lambda: away.log(run_of("visits", template[1]), folder=template[0]),
        "verified": lambda: away.verified(run, target=tmp_path / "verified"),
        "register": lambda: away.register("visits", run, tags={}, alias="candidate"),
        "attach": lambda: away.attach("run", [tmp_path / "card.md"], folder="evidence"),
        "promote": lambda: away.promote("visits", "1", alias="champion", tags={}),
    }
    for name, use in uses.items():
        with pytest.raises(Unreachable, match=rf"MLflow at {scheme}://someone:\*\*\*@.* does not answer") as caught:
            use()
        assert caught.value.temporary, name
        assert "sesame" not in f"{caught.value} {caught.value.value}"


def test_a_database_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "folder.db").mkdir()
    (tmp_path / "text.db").write_text("no database " * 100)
    refused = [
        (f"sqlite:///{tmp_path}/folder.db", Unwritable, "unable to open"),
        (f"sqlite:///{tmp_path}/text.db/mlflow.db", Unwritable, "cannot write"),
        (f"sqlite:///{tmp_path}/text.db", Misconfigured, "not a database"),
        ("nonsense://host", Misconfigured, "no address that MLflow understands: nonsense://host. Valid: http"),
        ("./mlruns", Misconfigured, "no address that MLflow understands"),
    ]
    for uri, kind, says in refused:
        with pytest.raises(kind, match=says):
            MlflowModels(uri, artifacts=None).by_alias("visits", "champion")
