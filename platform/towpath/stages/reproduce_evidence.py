"""What a candidate's evidence holds of how its model was made, verified before any of it is used."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import rfc8785
from pydantic import ValidationError

from towpath.core import digest as digests
from towpath.core.charter import Features, Training
from towpath.core.errors import BadInput, IntegrityError, NotFound
from towpath.core.evidence import Candidate, Entry, Subject
from towpath.core.gates import Stage
from towpath.core.reproduction import Parts, What
from towpath.ports import Objects
from towpath.stages import pins

_MEANS: Final = {
    pins.CODE: "its training code (of which it has the digest)",
    pins.REPOSITORY: "the definitions of its features (of which it has the digest)",
    pins.DECLARATION: "the charter's training and features, with the seed",
    pins.LIBRARIES: "the libraries and their versions (of which it has the digest)",
}


@dataclass(frozen=True, kw_only=True)
class Pinned:
    """What a model can be made again from. `code` and `repository` are files by their name."""

    code: Mapping[str, bytes]
    repository: Mapping[str, bytes]
    training: Training
    features: Features
    libraries: Mapping[str, str]
    """Distributions and their versions, and Python's as `python`."""


def lacking(candidate: Candidate) -> list[str]:
    """What of `Pinned` the evidence does not hold, in words: it was trained before that was stored."""
    found = candidate.entry(Stage.TRAIN).subjects_of(pins.KIND)
    return [told for name, told in _MEANS.items() if name not in found]


def pinned(candidate: Candidate, objects: Objects) -> Pinned:
    """Fetched, each object's bytes and what is in them compared with the digests of the candidate's entries.

    Raises `NotFound` for a candidate of which something is lacking, `IntegrityError` for anything that is not what was
    recorded.
    """
    missing = lacking(candidate)
    train = candidate.entry(Stage.TRAIN)
    if missing:
        raise NotFound(
            f"{candidate.id} cannot be made again: its evidence lacks {'; '.join(missing)}. It was trained before "
            f"these were stored. Its commit: {train.notes.get('commit') or 'not known'}.",
            value=candidate.id,
            hint="A run of the path from now on stores them: `towpath run`. `--against` compares what there is.",
        )
    found = {name: fetched(subject, objects) for name, subject in train.subjects_of(pins.KIND).items()}
    code, repository = pins.archived(found[pins.CODE]), pins.archived(found[pins.REPOSITORY])
    declared, libraries = _json(found[pins.DECLARATION]), _json(found[pins.LIBRARIES])
    definitions = candidate.entry(Stage.FEATURIZE).subject("code", pins.REPOSITORY).digest
    _require(pins.contents_digest(code), train.inputs["code"], "training code", candidate)
    _require(pins.contents_digest(repository), definitions, "feature repository", candidate)
    _require(digests.of_json(libraries), train.inputs["environment"], "list of libraries", candidate)
    for section in pins.SECTIONS:
        _require(digests.of_json(declared.get(section)), train.inputs[section], f"charter's {section}", candidate)
    try:
        training, features = (
            Training.model_validate(declared["training"]),
            Features.model_validate(declared["features"]),
        )
    except ValidationError as error:
        raise BadInput(
            f"The declaration that {candidate.id} was made by is of another version of Towpath: {error}",
            value=candidate.id,
            hint="Reproduce it with the version that made it; the pinned libraries name it.",
        ) from error
    return Pinned(code=code, repository=repository, training=training, features=features, libraries=libraries)


def fetched(subject: Subject, objects: Objects) -> Path:
    """A subject's object. Raises `IntegrityError` that names it when its bytes are not those recorded."""
    try:
        return objects.fetch(subject.digest)
    except IntegrityError as error:
        rows = f" of {subject.rows:,} rows" if subject.rows is not None else ""
        raise IntegrityError(
            f"{subject.kind} {subject.name}{rows}, digest {digests.short(subject.digest)}, is not what was recorded: "
            f"{error.message}",
            gate=error.gate,
            value=error.value,
            hint="Nothing is made of it. Restore the object from a backup.",
        ) from error


def recorded(candidate: Candidate, found: Pinned | None) -> dict[What, Parts]:
    """What the model was made of, as the evidence says it. Without `found`, what its entries alone say."""
    train, facts = candidate.entry(Stage.TRAIN), dict(candidate.entry(Stage.TRAIN).facts)
    told: dict[What, Parts] = {
        What.DATA: tables(candidate.entry(Stage.INGEST), "dataset"),
        What.FEATURES: tables(candidate.entry(Stage.FEATURIZE), "features"),
    }
    if isinstance(facts.get("params"), dict):
        told[What.PARAMETERS] = parameters(facts["params"])
    if isinstance(train.notes.get("machine"), dict):
        told[What.PLATFORM] = {name: str(value) for name, value in _mapping(train.notes["machine"]).items()}
    if found is not None:
        told[What.CODE] = code(found.code, found.repository)
        told[What.LIBRARIES] = libraries(found.libraries)
        told[What.PYTHON] = {"": found.libraries["python"]}
        told[What.SEED] = {"": str(found.training.seed)}
    return told


def tables(entry: Entry, kind: str) -> dict[str, str]:
    """Each stored table of a kind by its name: its rows and its digest."""
    return {name: table(item.rows or 0, item.digest) for name, item in entry.subjects_of(kind).items()}


def table(rows: int, digest: str) -> str:
    return f"{rows:,} rows ({digests.short(digest)})"


def parameters(params: Any) -> dict[str, str]:
    """In canonical form, as the ledger keeps them: there 1.0 is 1."""
    return {str(name): rfc8785.dumps(value).decode() for name, value in sorted(dict(params).items())}


def code(training: Mapping[str, bytes], repository: Mapping[str, bytes]) -> dict[str, str]:
    """Each file by its name, those of the feature repository below `feature_repo`, with its digest."""
    files = {**training, **{f"{pins.REPOSITORY}/{name}": data for name, data in repository.items()}}
    return {name: digests.short(digests.of_bytes(data)) for name, data in sorted(files.items())}


def libraries(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: version for name, version in environment.items() if name != "python"}


def _require(found: str, wanted: str, what: str, candidate: Candidate) -> None:
    if found != wanted:
        raise IntegrityError(
            f"The stored {what} of {candidate.id} has digest {digests.short(found)}, and the entry that it belongs to "
            f"speaks of {digests.short(wanted)}.",
            value=found,
            hint="Nothing is made of it. Find out who wrote it.",
        )


def _json(file: Path) -> dict[str, Any]:
    found = json.loads(file.read_bytes())
    return found if isinstance(found, dict) else {}


def _mapping(value: Any) -> dict[str, Any]:
    return dict(value)
