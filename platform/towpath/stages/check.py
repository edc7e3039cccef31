"""check: what a project declares, held together before anything runs. Reads the project's own files only.

The transforms are run too, on empty tables with the contracts' columns: a column that no contract promises, or that no
transform gives, is found without a row of data.
"""

from __future__ import annotations

import inspect
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pyarrow.parquet as pq
import yaml

from towpath.core import charter as charters
from towpath.core import names
from towpath.core.errors import BadInput, DeclarationError, Problems, TowpathError
from towpath.ports import FeatureStore, FeatureTables, FeatureView, Transforms, Window
from towpath.project import Project, load
from towpath.stages import empty

_T = TypeVar("_T")
_WINDOW = Window(start=datetime(2000, 1, 1, tzinfo=UTC), end=datetime(2000, 1, 1, tzinfo=UTC) + timedelta(days=1))


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What was looked at, and everything that is wrong with it. `inputs` are the model's columns, in order."""

    project: str
    tables: Mapping[str, int]
    transforms: Sequence[str]
    views: Sequence[FeatureView]
    inputs: Sequence[str]
    problems: Sequence[TowpathError]


@dataclass(frozen=True, kw_only=True)
class _Built:
    """The columns that the transforms give: of each feature source, and of the spine."""

    sources: Mapping[str, Sequence[str]]
    spine: Sequence[str]


def check(folder: Path, *, features: FeatureStore, transforms: Transforms) -> Checked:
    """Check a project folder. Raises `TowpathError` only for a charter that cannot be read at all."""
    problems: list[TowpathError] = []
    project = _loaded(folder, problems)
    _collect(problems, lambda: _entry(project))
    views = _collect(problems, lambda: features.views(project.repository, project.charter.features.service)) or ()
    built = _transformed(project, transforms, problems) if project.contracts else None
    inputs = [*project.charter.features.request, *(name for view in views for name in view.features)]
    problems += _inputs(project, views, inputs)
    problems += _unit(project, views)
    if built is not None:
        problems += _spine(project, views, built)
        problems += _sources(views, built)
    return Checked(
        project=project.charter.project,
        tables={table: len(contract.tables[table].columns) for table, contract in project.contracts.items()},
        transforms=(*built.sources, "spine") if built else (),
        views=views,
        inputs=inputs,
        problems=problems,
    )


def _loaded(folder: Path, problems: list[TowpathError]) -> Project:
    """The project; when its contracts have mistakes, one without contracts, so that the rest is checked too."""
    try:
        return load(folder)
    except Problems as error:
        file = folder if folder.suffix in {".yaml", ".yml"} else folder / names.CHARTER_FILE
        try:
            charter = charters.parse(yaml.safe_load(file.read_text(encoding="utf-8")), origin=file.name)
        except TowpathError:
            raise error from None
        problems += error.problems
        return Project(folder=file.parent, charter=charter, contracts={})


def _collect(problems: list[TowpathError], act: Callable[[], _T]) -> _T | None:
    try:
        return act()
    except Problems as error:
        problems += error.problems
    except TowpathError as error:
        problems.append(error)
    return None


def _entry(project: Project) -> None:
    entry = project.charter.training.entry
    fit = project.fit()
    try:
        inspect.signature(fit).bind(None, None, params={}, seed=0)
    except TypeError as error:
        raise DeclarationError(
            f"training.entry: {entry} cannot be called as fit(frame, target, params=…, seed=…): {error}.",
            value=entry,
            hint="def fit(frame, target, *, params, seed): … returns the fitted model.",
        ) from error
    except ValueError as error:  # a builtin without a signature
        raise BadInput(f"training.entry: {entry} is no plain function: {error}.", value=entry) from error


def _transformed(project: Project, transforms: Transforms, problems: list[TowpathError]) -> _Built | None:
    """Build from empty tables. A feature's transform that does not run is left out, and the others tried without it."""
    with _scratch(project) as (repository, tables, target):
        while True:
            try:
                built = transforms.build(repository, tables, window=_WINDOW, target=target)
                known_at = {table: contract.known_at.get(table, {}) for table, contract in project.contracts.items()}
                transforms.replay(repository, tables, built, known_at=known_at, instants=[_WINDOW.end])
            except TowpathError as error:
                problems.append(_at_home(error, repository, project.repository))
                broken = Path(str(error.value))
                others = len(list(broken.parent.glob("*.sql"))) > 1
                if broken.parent != repository / "transforms" / "features" or not broken.is_file() or not others:
                    return None
                broken.unlink()
            else:
                return _columns(built)


@contextmanager
def _scratch(project: Project) -> Iterator[tuple[Path, dict[str, Path], Path]]:
    """A copy of the repository's transforms, the empty tables, and a folder for what is built."""
    with tempfile.TemporaryDirectory(prefix="towpath-check-") as name:
        folder = Path(name)
        repository, target = folder / "repository", folder / "built"
        target.mkdir()
        repository.mkdir()
        if (project.repository / "transforms").is_dir():
            shutil.copytree(project.repository / "transforms", repository / "transforms")
        tables = {
            table: empty.write(folder / f"{table}.parquet", contract, table)
            for table, contract in project.contracts.items()
        }
        yield repository, tables, target


def _at_home(error: TowpathError, copied: Path, repository: Path) -> TowpathError:
    """The error with the project's own paths instead of the copy's."""

    def home(text: Any) -> str:
        return str(text).replace(str(copied), str(repository))

    value = None if error.value is None else home(error.value)
    return type(error)(home(error.message), value=value, valid=error.valid, hint=home(error.hint))


def _columns(built: FeatureTables) -> _Built:
    return _Built(
        sources={name: pq.read_schema(file).names for name, file in built.sources.items()},
        spine=pq.read_schema(built.spine).names,
    )


def _inputs(project: Project, views: Sequence[FeatureView], inputs: Sequence[str]) -> Iterator[TowpathError]:
    """The model's columns: each from one place only, and the target not among them."""
    charter = project.charter
    for name in sorted({name for name in inputs if inputs.count(name) > 1}):
        given = [f"view {view.name}" for view in views if name in view.features]
        given += ["features.request"] if name in charter.features.request else []
        yield DeclarationError(
            f"The model's column {name!r} comes from {' and '.join(given)}.",
            value=name,
            hint="Rename one, or leave one out.",
        )
    for view in views:
        if charter.training.target in view.features:
            yield DeclarationError(
                f"Feature view {view.name} holds the target {charter.training.target!r}; the target is never an input.",
                value=charter.training.target,
            )


def _unit(project: Project, views: Sequence[FeatureView]) -> Iterator[TowpathError]:
    """The unit that a rollout splits must come with every request: a misspelt one would leave all of them unsplit."""
    policy = project.charter.rollout
    brought = [*project.charter.features.request, *(key for view in views for key in view.keys)]
    if policy is not None and policy.unit is not None and views and policy.unit not in brought:
        yield DeclarationError(
            f"rollout.unit names {policy.unit!r}, which no request brings.",
            value=policy.unit,
            valid=sorted(set(brought)),
            hint="Name a column of features.request, or a join key of a feature view.",
        )


def _spine(project: Project, views: Sequence[FeatureView], built: _Built) -> Iterator[TowpathError]:
    """The columns that the charter and the views expect of the spine."""
    charter = project.charter
    wanted = [
        ("features.rowId", charter.features.row_id),
        ("training.target", charter.training.target),
        *(("features.request", name) for name in charter.features.request),
        *((f"feature view {view.name}", key) for view in views for key in view.keys),
    ]
    for where, column in dict.fromkeys(wanted):
        if column not in built.spine:
            yield DeclarationError(
                f"{where} names {column!r}, which transforms/spine.sql does not give.", value=column, valid=built.spine
            )
    known = [*built.spine, *(name for view in views for name in view.features)]
    for part in charter.gates.slices if views else ():
        if part.by not in known:
            yield DeclarationError(
                f"gates.slices names {part.by!r}, which is no column of the holdout.", value=part.by, valid=known
            )


def _sources(views: Sequence[FeatureView], built: _Built) -> Iterator[TowpathError]:
    """Each view has a source that gives its keys, its features and both its times."""
    for view in views:
        wanted = [*view.keys, *view.features, names.EVENT_TIME, "created_timestamp"]
        lacking = {name: [item for item in wanted if item not in columns] for name, columns in built.sources.items()}
        closest = view.name if view.name in lacking else min(lacking, key=lambda name: len(lacking[name]))
        if lacking[closest]:
            yield DeclarationError(
                f"Feature view {view.name} reads {', '.join(lacking[closest])}, which no transform gives.",
                value=lacking[closest][0],
                valid=built.sources[closest],
                hint=f"transforms/features/{closest}.sql comes closest.",
            )
