"""What reads the columns that are deprecated, found by running the transforms without each of them.

They run on tables of no rows with the columns of the contracts. A transform that names a column does not run without
it; one that takes every column gives one column less, which counts where the charter or a served feature view names
that column. So whatever the SQL looks like, what the removal would break is what reads the column.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pyarrow.parquet as pq

from towpath.core import digest as digests
from towpath.core import names
from towpath.core.deprecations import Leaving, Reads
from towpath.core.errors import DeclarationError
from towpath.ports import FeatureStore, FeatureView, Transforms, Window
from towpath.project import Project
from towpath.stages import empty

_WINDOW: Final = Window(
    start=datetime(2000, 1, 1, tzinfo=UTC), end=datetime(2000, 1, 1, tzinfo=UTC) + timedelta(days=1)
)
_EPOCH = "TIMESTAMPTZ '1970-01-01 00:00:00+00'"
_NOTHING = f"SELECT {_EPOCH} AS {names.EVENT_TIME}, {_EPOCH} AS created_timestamp WHERE false"
_SPINE = "the spine"


def readers(
    project: Project,
    columns: Sequence[Leaving],
    *,
    transforms: Transforms,
    features: FeatureStore,
    folder: Path,
) -> dict[Leaving, Reads]:
    """What reads each of some columns of a project's sources; `folder` is an empty one to work in.

    Raises `DeclarationError` for a feature repository that does not load, once one of the columns is found to come
    through the transforms with all the others.
    """
    if not columns:
        return {}
    trial = _Trial(project=project, transforms=transforms, features=features, folder=folder)
    try:
        whole = trial.build(*trial.copy("whole"))
    except DeclarationError as error:
        return dict.fromkeys(columns, Reads(untold=f"on tables without rows, {error.message}"))
    return {one: trial.reads(one, whole, str(place)) for place, one in enumerate(columns)}


def inputs(reads: Mapping[Leaving, Reads]) -> dict[str, str]:
    """The answer as an input of the stage, so that it is done anew when another is given; none when nothing is read."""
    told = {one.name: [*read.by, read.untold] for one, read in reads.items() if read != Reads()}
    return {"deprecated": digests.of_json(told)} if told else {}


_Outputs = Mapping[str, Sequence[str]]  # the columns of each feature source, and of the spine


@dataclass(frozen=True, kw_only=True)
class _Trial:
    project: Project
    transforms: Transforms
    features: FeatureStore
    folder: Path

    def reads(self, one: Leaving, whole: _Outputs, name: str) -> Reads:
        """What does not run, or gives too little, without the column."""
        (repository, tables), by = self.copy(name, without=one), list[str]()
        while True:
            try:
                found = self.build(repository, tables)
            except DeclarationError as error:
                broken = Path(str(error.value))
                where = broken.relative_to(repository).as_posix() if broken.is_relative_to(repository) else one.table
                by.append(where)
                if broken.parent.name != "features" or by.count(where) > 1:
                    return Reads(by=tuple(dict.fromkeys(by)))
                broken.write_text(_NOTHING, encoding="utf-8")  # the others may read it too
            else:
                stubs = {Path(where).stem for where in by}
                less = {source: set(whole[source]) - set(found[source]) for source in found if source not in stubs}
                return Reads(by=(*by, *dict.fromkeys(self._named(less))))

    def _named(self, less: Mapping[str, set[str]]) -> Iterator[str]:
        """Who names a column that the outputs lack."""
        if not any(less.values()):
            return
        charter = self.project.charter
        views = self.features.views(self.project.repository, charter.features.service)
        wanted = [
            *(("features.request", name) for name in charter.features.request),
            ("features.rowId", charter.features.row_id),
            ("training.target", charter.training.target),
            *((f"feature view {view.name}", name) for view in views for name in view.keys),
        ]
        yield from (where for where, name in wanted if name in less.get(_SPINE, ()))
        for source, gone in less.items():
            yield from (_view(view) for view in views if source != _SPINE and gone.intersection(_columns(view)))

    def copy(self, name: str, *, without: Leaving | None = None) -> tuple[Path, dict[str, Path]]:
        """A copy of the repository's transforms, to be changed, and the tables, one of them without a column."""
        repository = self.folder / name / "repository"
        shutil.copytree(self.project.repository / "transforms", repository / "transforms")
        tables = {}
        for table, contract in self.project.contracts.items():
            gone = without.column if without and without.table == table else None
            tables[table] = empty.write(self.folder / name / f"{table}.parquet", contract, table, without=gone)
        return repository, tables

    def build(self, repository: Path, tables: Mapping[str, Path]) -> _Outputs:
        target = repository.parent / "built"
        target.mkdir(exist_ok=True)
        built = self.transforms.build(repository, tables, window=_WINDOW, target=target)
        return {name: pq.read_schema(file).names for name, file in {**built.sources, _SPINE: built.spine}.items()}


def _view(view: FeatureView) -> str:
    return f"feature view {view.name}"


def _columns(view: FeatureView) -> Sequence[str]:
    return (*view.keys, *view.features)
