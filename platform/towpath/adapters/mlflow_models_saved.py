"""A model as a folder: saved with skops in canonical form, digested, and loaded without pickle."""

from __future__ import annotations

import logging
import warnings
import zipfile
from pathlib import Path
from typing import Any

import yaml

from towpath import telemetry
from towpath.adapters.skops_file import canonicalise
from towpath.core import digest as digests
from towpath.core.errors import BadInput, DeclarationError, IntegrityError, NotFound

PAYLOAD = "model.skops"
METADATA = "MLmodel"
_REGISTRY_NOTE = "registered_model_meta"
# Types beyond skops' own defaults that a saved model may hold. Each was read: it only holds data, and its construction
# and state setting run no code of the file's choosing. Never taken from a model's own metadata.
TRUSTED_TYPES: tuple[str, ...] = (
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
)


def save(model: Any, *, example: Any, prediction: Any, folder: Path) -> str:
    """Write the model's folder; returns its payload's digest.

    Raises `DeclarationError` for types that were not reviewed and `BadInput` for what skops cannot store.
    """
    telemetry.silence()
    import mlflow.sklearn
    from mlflow.models import infer_signature
    from skops.io.exceptions import UntrustedTypesFoundException

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # hints about integer columns; the contract says which may be null
        try:
            mlflow.sklearn.save_model(
                model,
                path=str(folder),
                serialization_format="skops",
                skops_trusted_types=list(TRUSTED_TYPES),
                signature=infer_signature(example, prediction),
                input_example=example.head(5),
                pip_requirements=_requirements(),
            )
        except mlflow.MlflowException as error:
            if isinstance(error.__context__, UntrustedTypesFoundException):
                raise _untrusted(str(error.__context__)) from error
            raise BadInput(
                f"The model cannot be saved without pickle: {error}",
                hint="Use scikit-learn estimators; functions and classes of one's own cannot be stored safely.",
            ) from error
    canonicalise(folder / PAYLOAD)
    return payload_digest(folder)


def load(folder: Path) -> Any:
    """The model of a saved folder.

    Raises `NotFound` without a skops file, `DeclarationError` for types that were not reviewed and `IntegrityError` for
    a file that is damaged.
    """
    from skops.io import load as load_skops
    from skops.io.exceptions import UntrustedTypesFoundException

    file = folder / PAYLOAD
    if not file.is_file():
        raise NotFound(
            f"There is no {PAYLOAD} in the model's folder.", value=str(folder), hint="Only skops models are loaded."
        )
    try:
        return load_skops(file, trusted=list(TRUSTED_TYPES))
    except UntrustedTypesFoundException as error:
        raise _untrusted(str(error)) from error
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, AttributeError, ImportError) as error:
        raise IntegrityError(
            f"{PAYLOAD} is no model that can be read: {type(error).__name__}: {error}",
            gate="integrity.model",
            value=str(file),
            hint="Take the model as it was stored.",
        ) from error


def payload_digest(folder: Path) -> str:
    """Digest of what the model is: its canonical skops file and its signature."""
    metadata = yaml.safe_load((folder / METADATA).read_text(encoding="utf-8"))
    return digests.of_json({PAYLOAD: digests.of_file(folder / PAYLOAD), "signature": metadata.get("signature")})


def folder_digest(folder: Path) -> str:
    """Digest of a model's folder without the note that MLflow adds to it on registration."""
    files = [file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()]
    return digests.of_tree(folder, names=[name for name in files if name != _REGISTRY_NOTE])


def note_run(folder: Path, *, run_id: str, model_id: str, location: str) -> None:
    """Write into the model's metadata where it came from and where it lies."""
    file = folder / METADATA
    metadata = yaml.safe_load(file.read_text(encoding="utf-8"))
    metadata.update({"run_id": run_id, "model_id": model_id, "artifact_path": location})
    file.write_text(yaml.safe_dump(metadata, sort_keys=False), encoding="utf-8")


def _requirements() -> list[str]:
    import sklearn
    import skops

    return [f"scikit-learn=={sklearn.__version__}", f"skops=={skops.__version__}"]


def _untrusted(found: str) -> DeclarationError:
    return DeclarationError(
        f"The model holds types that nobody reviewed. {found.splitlines()[0]}",
        value=found.splitlines()[0],
        valid=TRUSTED_TYPES,
        hint="Use estimators that skops knows, or review the type and add it to TRUSTED_TYPES.",
    )
