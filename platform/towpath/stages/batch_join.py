"""Rows that bring keys instead of features: joined point-in-time, from the sources that the champion was made from."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from towpath.core import names
from towpath.core.errors import BadInput, Denied, IntegrityError
from towpath.core.evidence import Entry
from towpath.ports import FeatureStore, FeatureView, Objects
from towpath.stages import batch_files as files
from towpath.stages.serving import Approved


@dataclass(frozen=True, kw_only=True)
class Joined:
    """A Parquet file with every model input, and how many rows each view knew nothing for at their time."""

    file: Path
    missing: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Features:
    """The champion's features: what was recorded of them, the repository as it lies there now, and its digest."""

    entry: Entry
    repository: Path
    digest: str
    service: str
    store: Callable[[], FeatureStore]
    objects: Objects


def join(source: Path, approved: Approved, features: Features, *, as_of: datetime, folder: Path) -> Joined | None:
    """The source's rows with features as known at each row's `event_timestamp`, or at `as_of` where it has none.

    None when the file holds every model input. All its rows are in memory meanwhile. Raises `BadInput` for a file that
    brings some features and lacks others, or lacks keys; `Denied` when the feature repository is not the champion's.
    """
    present = files.columns_of(source)
    offered = {name for own in approved.views.values() for name in own}
    missing = [name for name in approved.columns if name not in present]
    if not missing:
        return None
    _require_asked(source, present, missing, offered)
    recorded = features.entry.inputs.get("repository")
    if recorded != features.digest:
        raise Denied(
            f"The feature repository {features.repository.name} is not the one of {approved.candidate}.",
            value=features.digest,
            hint="Go back to the champion's version of it, or give every model input in the file.",
        )
    store = features.store()
    views = store.views(features.repository, features.service)
    _require_keys(source, present, missing, views)
    sources = _fetched(features, folder / "sources")
    table = files.read(source, types={**_texts(sources, views), **approved.types})
    spine, joined = folder / "spine.parquet", folder / "joined.parquet"
    pq.write_table(_timed(table, source, as_of), spine)
    store.training_set(features.repository, features.service, sources=sources, spine=spine, target=joined)
    found = pq.read_table(joined)
    rows = folder / "rows.parquet"
    for name in missing:
        table = table.append_column(found.schema.field(name).remove_metadata(), found[name])
    pq.write_table(table, rows)
    return Joined(
        file=rows, missing={view.name: found[f"{view.name}__{names.EVENT_TIME}"].null_count for view in views}
    )


def _require_asked(source: Path, present: Sequence[str], missing: Sequence[str], offered: set[str]) -> None:
    """What lacks can be looked up: features, and all of them or none."""
    asked = [name for name in missing if name not in offered]
    if asked:
        raise BadInput(
            f"{source} lacks {', '.join(asked)}.",
            value=asked,
            valid=present,
            hint="Model inputs that are no features of the feature store have to be in the file.",
        )
    given = [name for name in present if name in offered]
    if given:
        raise BadInput(
            f"{source} has the features {', '.join(given)} and lacks {', '.join(missing)}.",
            value=missing,
            hint="Give every feature, or none: then all of them are looked up by their keys.",
        )


def _require_keys(source: Path, present: Sequence[str], missing: Sequence[str], views: Sequence[FeatureView]) -> None:
    keys = dict.fromkeys(key for view in views for key in view.keys)
    absent = [key for key in keys if key not in present]
    if absent:
        raise BadInput(
            f"{source} lacks {', '.join(missing)}, and {', '.join(absent)} to look them up by.",
            value=absent,
            valid=present,
            hint=f"Give every model input, or the keys of the features: {', '.join(keys)}.",
        )


def _fetched(features: Features, target: Path) -> Path:
    """The recorded feature sources, each verified against its digest."""
    target.mkdir()
    for name, subject in features.entry.subjects_of("feature_source").items():
        shutil.copyfile(features.objects.fetch(subject.digest), target / f"{name}.parquet")
    if not any(target.iterdir()):
        raise IntegrityError("The champion's record names no feature sources.", value=features.entry.key)
    return target


def _texts(sources: Path, views: Sequence[FeatureView]) -> dict[str, str]:
    """Keys that are text in the sources: in a CSV file they may look like numbers."""
    keys = {key for view in views for key in view.keys}
    schemas = [pq.read_schema(file) for file in sources.iterdir()]
    return {
        field.name: "text"
        for schema in schemas
        for field in schema
        if field.name in keys and (pa.types.is_string(field.type) or pa.types.is_large_string(field.type))
    }


def _timed(table: pa.Table, source: Path, as_of: datetime) -> pa.Table:
    """The rows with a time each."""
    kind = pa.timestamp("us", tz="UTC")
    now = pa.scalar(as_of, kind)
    if names.EVENT_TIME not in table.column_names:
        return table.append_column(names.EVENT_TIME, pa.repeat(now, table.num_rows))
    place = table.column_names.index(names.EVENT_TIME)
    own = table.schema.field(place).type
    if not (pa.types.is_timestamp(own) or pa.types.is_null(own)):
        raise BadInput(
            f"Column {names.EVENT_TIME} of {source} is {own}; features are joined as of it.",
            value=names.EVENT_TIME,
            hint="Make it timestamps, or leave it out and give --as-of.",
        )
    return table.set_column(place, names.EVENT_TIME, pc.fill_null(table[place].cast(kind, safe=False), now))
