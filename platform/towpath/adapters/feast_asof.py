"""Feast's offline store on DuckDB: one query of ASOF joins, and only what was known at the time.

Named in `feature_store.yaml` like any store of Feast's own::

    offline_store:
      type: towpath.adapters.feast_asof.AsofOfflineStore
      as_known_at: true          # a row counts only once it was created: backfills do not leak
      feature_timestamps: false  # add <view>__event_timestamp, <view>__created_timestamp of the row that was joined
      materialize_as_known_at: false # online rows as known at the end date, for replays of the past
      memory_limit: 2GB          # of DuckDB, which spills to disk beyond it; its own default if left out
      threads: 2

It reads `FileSource`s of Parquet, one local file or a folder. The entity rows come as a pandas DataFrame and keep their
order, their columns and their duplicates; features follow in the order they were asked for. A row counts for an entity
row at time `t` if its event timestamp is at most `t`, not older than the view's TTL (an age of exactly the TTL counts),
and, with `as_known_at`, its created timestamp is at most `t`. The newest event wins, then the newest created, then the
row that stands last in the files. Times without zone are UTC. A null key matches nothing.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from feast.data_format import ParquetFormat
from feast.data_source import DataSource
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL, FeatureView
from feast.infra.offline_stores.file_source import FileSource, SavedDatasetFileStorage
from feast.infra.offline_stores.offline_store import OfflineStore, RetrievalJob, RetrievalMetadata
from feast.infra.registry.base_registry import BaseRegistry
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.repo_config import FeastConfigBaseModel, RepoConfig
from feast.saved_dataset import SavedDatasetStorage
from feast.utils import _get_requested_feature_views_to_features_dict
from pydantic import Field, PositiveInt

from towpath.adapters import feast_asof_sql as sql
from towpath.core.errors import BadInput, DeclarationError, Misconfigured, NotFound

EVENT_TIMESTAMP = "event_timestamp"


class AsofOfflineStoreConfig(FeastConfigBaseModel):  # type: ignore[misc]
    """The `offline_store` section; unknown keys are refused."""

    type: Literal["towpath.adapters.feast_asof.AsofOfflineStore"] = "towpath.adapters.feast_asof.AsofOfflineStore"
    as_known_at: bool = True
    feature_timestamps: bool = False
    materialize_as_known_at: bool = False
    memory_limit: str | None = Field(default=None, pattern=r"^\d+(\.\d+)? ?([KMGT]i?B)$")
    threads: PositiveInt | None = None


@dataclass(frozen=True, kw_only=True)
class Query:
    """One statement, the Arrow tables it names, and the means it may use."""

    text: str
    relations: Mapping[str, pa.Table] = field(default_factory=dict)
    memory_limit: str | None = None
    threads: int | None = None

    def run(self, timeout: float | None = None) -> pa.Table:
        """The result. `timeout` in seconds; raises `TimeoutError`, `BadInput` or `Misconfigured` (memory)."""
        settings: dict[str, str | int] = {"TimeZone": "UTC", "autoinstall_known_extensions": "false"}
        settings |= {"memory_limit": self.memory_limit} if self.memory_limit else {}
        settings |= {"threads": self.threads} if self.threads else {}
        with tempfile.TemporaryDirectory(prefix="towpath-asof-") as spill:
            connection = duckdb.connect(":memory:", config=settings | {"temp_directory": spill})
            watch = threading.Timer(timeout, connection.interrupt) if timeout else None
            try:
                for name, table in self.relations.items():
                    connection.register(name, table)
                if watch:
                    watch.start()
                with _explained(timeout, self.memory_limit):
                    return connection.sql(self.text).to_arrow_table()
            finally:
                if watch:
                    watch.cancel()
                connection.close()


@dataclass(frozen=True, kw_only=True)
class EntityRows:
    """The caller's rows as Arrow, and the relation that is joined: position, time (microseconds), one column a key."""

    table: pa.Table
    joined: pa.Table
    time_column: str
    key_columns: Mapping[str, str]
    first: int | None
    last: int | None


class AsofRetrievalJob(RetrievalJob):  # type: ignore[misc]
    """A query that has been planned and checked; it runs when a result is asked for."""

    def __init__(
        self,
        query: Query,
        *,
        repo_path: Path | None,
        beside: pa.Table | None = None,
        columns: Sequence[str] = (),
        full_feature_names: bool = False,
        on_demand_feature_views: Sequence[OnDemandFeatureView] = (),
        metadata: RetrievalMetadata | None = None,
    ) -> None:
        self._query = query
        self._repo_path = repo_path
        self._beside = beside
        self._columns = tuple(columns)
        self._full_feature_names = full_feature_names
        self._on_demand_feature_views = list(on_demand_feature_views)
        self._metadata = metadata

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        result = self._query.run(timeout)
        if self._beside is None:
            return result
        joined = self._beside
        for name, values in zip(self._columns, result.columns, strict=True):
            joined = joined.append_column(name, values)
        return joined

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        frame: pd.DataFrame = self._to_arrow_internal(timeout).to_pandas()
        return frame

    def to_sql(self) -> str:
        """The statement; the entity rows are its relation `entity_rows` and stay beside its result."""
        return self._query.text

    @property
    def full_feature_names(self) -> bool:
        return self._full_feature_names

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        return self._on_demand_feature_views

    @property
    def metadata(self) -> RetrievalMetadata | None:
        return self._metadata

    def persist(self, storage: SavedDatasetStorage, allow_overwrite: bool = False, timeout: int | None = None) -> None:
        """Write the result to one Parquet file, whole or not at all."""
        if not isinstance(storage, SavedDatasetFileStorage) or not storage.file_options.uri.endswith(".parquet"):
            raise BadInput(
                f"A saved dataset cannot be written to {getattr(storage, 'file_options', storage)!r}.",
                hint="Give SavedDatasetFileStorage(path=...) a local path that ends in .parquet.",
            )
        target = _local_path(storage.file_options.uri, self._repo_path)
        if target.exists() and not allow_overwrite:
            raise SavedDatasetLocationAlreadyExists(location=str(target))
        table = self.to_arrow(timeout=timeout)
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_name(f".{target.name}.{uuid4().hex}")
        try:
            pq.write_table(table, unfinished)
            unfinished.replace(target)
        finally:
            unfinished.unlink(missing_ok=True)


class AsofOfflineStore(OfflineStore):  # type: ignore[misc]
    """Point-in-time joins over Parquet files. Writing to sources raises the inherited `NotImplementedError`."""

    supports_filter_by_created_timestamp = True

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: pd.DataFrame | str | None,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        filter_by_created_timestamp: bool = False,
        start_date: datetime | None = None,  # noqa: ARG004  Feast gives both when there are no entity rows: refused
        end_date: datetime | None = None,  # noqa: ARG004
    ) -> RetrievalJob:
        """Every entity row with the features that held, and were known, at its time.

        The created-timestamp filter is on if the configuration's `as_known_at` or the argument says so. Raises
        `BadInput` (entity rows), `NotFound` (files), `DeclarationError` (views and sources).
        """
        options = _options(config)
        known = options.as_known_at or filter_by_created_timestamp
        on_demand = OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry)
        refs = _settled_order(feature_refs, on_demand)
        requested, _ = _get_requested_feature_views_to_features_dict(refs, feature_views, on_demand)
        keys = dict.fromkeys(key for view in requested for _, key in _join_keys(view))
        rows = _entity_rows(entity_df, list(keys))
        views = [
            _view_join(view, list(dict.fromkeys(features)), rows, config, known=known, full_names=full_feature_names)
            for view, features in requested.items()
        ]
        columns = [name for view in views for _, name in view.features]
        if options.feature_timestamps:
            columns += [name for view in views for name in sql.feature_time_names(view.prefix)]
        _refuse_twice([*rows.table.column_names, *columns])
        text = sql.historical(
            views, as_known_at=known, feature_times=options.feature_timestamps, first=rows.first, last=rows.last
        )
        return AsofRetrievalJob(
            _query(options, text, {sql.ENTITY_RELATION: rows.joined}),
            repo_path=config.repo_path,
            beside=rows.table,
            columns=columns,
            full_feature_names=full_feature_names,
            on_demand_feature_views=on_demand,
            metadata=RetrievalMetadata(
                features=feature_refs,
                keys=[name for name in rows.table.column_names if name != rows.time_column],
                min_event_timestamp=sql.from_microseconds(rows.first),
                max_event_timestamp=sql.from_microseconds(rows.last),
            ),
        )

    @staticmethod
    def pull_latest_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None,
        start_date: datetime,
        end_date: datetime,
    ) -> RetrievalJob:
        """The newest row of each key with an event timestamp from `start_date` to `end_date`, both included."""
        times, span = (timestamp_field, created_timestamp_column), (start_date, end_date)
        return _rows_job(config, data_source, join_key_columns, feature_name_columns, times, span, latest=True)

    @staticmethod
    def pull_all_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> RetrievalJob:
        """Every row with an event timestamp from `start_date` to `end_date`, both included, in stored order."""
        times, span = (timestamp_field, created_timestamp_column), (start_date, end_date)
        return _rows_job(config, data_source, join_key_columns, feature_name_columns, times, span)


def _settled_order(refs: Sequence[str], on_demand: Sequence[OnDemandFeatureView]) -> list[str]:
    """The references, those that Feast appended for on-demand views sorted: it takes them from a set."""
    inputs = {
        f"{projection.name_to_use()}:{feature.name}"
        for view in on_demand
        for projection in view.source_feature_view_projections.values()
        for feature in projection.features
    }
    asked = len(refs)
    while asked and refs[asked - 1] in inputs:
        asked -= 1
    return [*refs[:asked], *sorted(refs[asked:])]


def _join_keys(view: FeatureView) -> list[tuple[str, str]]:
    """Pairs of a view's join key and the entity rows' column that it is matched with; none for a view of no entity."""
    renamed = view.projection.join_key_map
    return [(key.name, renamed.get(key.name, key.name)) for key in view.entity_columns if key.name != DUMMY_ENTITY_ID]


def _view_join(
    view: FeatureView, features: Sequence[str], rows: EntityRows, config: RepoConfig, *, known: bool, full_names: bool
) -> sql.ViewJoin:
    source = view.batch_source
    if source is None:
        raise DeclarationError(
            f"Feature view {view.name!r} has no batch source.", hint="Give it a FileSource of Parquet."
        )
    stored = {name: column for column, name in source.field_mapping.items()}
    event = stored.get(source.timestamp_field, source.timestamp_field)
    created = stored.get(source.created_timestamp_column, source.created_timestamp_column) or None
    if known and not created:
        raise DeclarationError(
            f"Feature view {view.name!r}: source {source.name!r} has no created_timestamp_column, so nobody can tell "
            "when its rows were known.",
            value=view.name,
            hint="Name the column on the source, or set as_known_at: false and accept that backfills leak.",
        )
    keys = [(stored.get(key, key), column) for key, column in _join_keys(view)]
    columns = [stored.get(feature, feature) for feature in features]
    scan, types = _scan(config, source, event, created, [*(key for key, _ in keys), *columns])
    for key, column in keys:
        _refuse_text_against_number(view.name, key, types[key], column, rows.table.schema.field(column).type)
    prefix = view.projection.name_alias or view.name
    named = [f"{prefix}__{feature}" if full_names else feature for feature in features]
    return sql.ViewJoin(
        prefix=prefix,
        scan=scan,
        keys=tuple((key, rows.key_columns[column]) for key, column in keys),
        features=tuple(zip(columns, named, strict=True)),
        ttl=view.ttl,
    )


def _rows_job(
    config: RepoConfig,
    source: DataSource,
    keys: Sequence[str],
    features: Sequence[str],
    times: tuple[str, str | None],
    span: tuple[datetime | None, datetime | None],
    *,
    latest: bool = False,
) -> AsofRetrievalJob:
    options = _options(config)
    event, created = times
    columns = [*keys, *features, event, *([created] if created else [])]
    scan, _ = _scan(config, source, event, created, columns)
    start, end = (sql.to_microseconds(limit) for limit in span)
    text = sql.rows_between(
        scan,
        columns,
        start=start,
        end=end,
        known_by=end if options.materialize_as_known_at else None,
        latest_of=keys if latest else None,
        constant=None if keys else (DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL),
    )
    return AsofRetrievalJob(_query(options, text), repo_path=config.repo_path)


def _entity_rows(entity_df: pd.DataFrame | str | None, keys: Sequence[str]) -> EntityRows:
    if not isinstance(entity_df, pd.DataFrame):
        raise BadInput(
            f"Entity rows of type {type(entity_df).__name__} cannot be joined.",
            value=type(entity_df).__name__,
            valid=["pandas.DataFrame"],
            hint="Run the SQL yourself, or list the entities and times, and hand over the DataFrame.",
        )
    time_column = _time_column(entity_df)
    missing = [key for key in keys if key not in entity_df.columns]
    if missing:
        raise BadInput(
            f"The entity rows lack the join keys {missing}.",
            value=missing,
            valid=map(str, entity_df.columns),
            hint="Add the columns, or map the keys with with_join_key_map.",
        )
    try:
        times = _utc(entity_df[time_column])
        table = pa.Table.from_pandas(entity_df, preserve_index=False)
    except (ValueError, TypeError, pa.ArrowException) as error:
        hint = "Give each column one type and its own name."
        raise BadInput(f"The entity rows cannot be read: {error}", hint=hint) from error
    if not pd.api.types.is_datetime64_any_dtype(entity_df[time_column]):
        table = table.set_column(table.column_names.index(time_column), time_column, pa.Array.from_pandas(times))
    at = pa.Array.from_pandas(times.dt.floor("us").dt.as_unit("us")).cast(pa.int64())
    key_columns = {key: f"key_{position}" for position, key in enumerate(keys)}
    joined = {sql.ROW: pa.array(range(len(table)), pa.int64()), sql.AT: at}
    joined |= {column: table.column(key) for key, column in key_columns.items()}
    known = at.drop_null()
    first, last = (pc.min_max(known)[end].as_py() for end in ("min", "max"))
    return EntityRows(
        table=table, joined=pa.table(joined), time_column=time_column, key_columns=key_columns, first=first, last=last
    )


def _time_column(entity_df: pd.DataFrame) -> str:
    if EVENT_TIMESTAMP in entity_df.columns:
        return EVENT_TIMESTAMP
    times = [name for name in entity_df.columns if pd.api.types.is_datetime64_any_dtype(entity_df[name])]
    if len(times) != 1:
        raise BadInput(
            f"The entity rows need one time column; they have {times or 'none'}.",
            value=times,
            hint=f"Name the time of each row {EVENT_TIMESTAMP!r}.",
        )
    return str(times[0])


def _utc(times: pd.Series[Any]) -> pd.Series[Any]:
    aware: pd.Series[Any] = pd.to_datetime(times, utc=True)
    return aware


def _scan(
    config: RepoConfig, source: DataSource, event: str, created: str | None, columns: Sequence[str]
) -> tuple[sql.Scan, dict[str, str]]:
    """The files of a source and the types of their columns, once all that are needed are seen to be there."""
    files = _files(config, source)
    described = _query(_options(config), sql.describe(files)).run()
    types = dict(zip(described["column_name"].to_pylist(), described["column_type"].to_pylist(), strict=True))
    missing = [name for name in dict.fromkeys([event, *([created] if created else []), *columns]) if name not in types]
    if missing:
        raise DeclarationError(
            f"Source {source.name!r} has no columns {missing}.",
            value=missing,
            valid=types,
            hint="Mend the feature view's schema, the source's time columns or its field_mapping, or the file.",
        )
    fine = {name for name, kind in types.items() if kind.endswith("_NS")}
    scan = sql.Scan(
        files=files,
        event=sql.TimeColumn(name=event, nanoseconds=event in fine),
        created=sql.TimeColumn(name=created, nanoseconds=created in fine) if created else None,
    )
    return scan, types


def _files(config: RepoConfig, source: DataSource) -> tuple[str, ...]:
    if not isinstance(source, FileSource) or not isinstance(source.file_format, ParquetFormat | None):
        raise DeclarationError(
            f"Source {source.name!r} is a {type(source).__name__} that this store cannot read.",
            value=type(source).__name__,
            valid=["FileSource of Parquet: a local file or folder"],
        )
    path = _local_path(source.path, config.repo_path)
    if path.is_file():
        return (str(path),)
    inside = [file.relative_to(path) for file in path.rglob("*.parquet") if file.is_file()]
    # as Arrow and Spark have it: what begins with "." or "_" is not data
    files = sorted(str(path / file) for file in inside if not any(part[0] in "._" for part in file.parts))
    if not files:
        raise NotFound(
            f"Source {source.name!r}: no Parquet file at {source.path!r}.",
            value=source.path,
            hint="Write the data first; a relative path counts from the folder of feature_store.yaml.",
        )
    return tuple(files)


def _local_path(uri: str, repo_path: Path | None) -> Path:
    if "://" in uri:
        raise DeclarationError(
            f"{uri!r} is not a local path.", value=uri, hint="Copy the data to a local file or folder."
        )
    return (repo_path or Path()) / uri


def _refuse_text_against_number(view: str, key: str, stored: str, column: str, given: pa.DataType) -> None:
    """DuckDB would cast the text to a number, match some rows and fail on others."""
    value = given.value_type if pa.types.is_dictionary(given) else given
    is_text = pa.types.is_string(value) or pa.types.is_large_string(value) or pa.types.is_string_view(value)
    if not pa.types.is_null(value) and is_text != stored.startswith(("VARCHAR", "ENUM", "UUID")):
        raise BadInput(
            f"Feature view {view!r}: key {key!r} is stored as {stored}, the entity rows' {column!r} is {given}.",
            value=str(given),
            hint="Give both the same type.",
        )


def _refuse_twice(names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BadInput(
            f"The result would hold the columns {twice} more than once.",
            value=twice,
            hint="Ask with full_feature_names=True, or rename the columns of the entity rows.",
        )


def _options(config: RepoConfig) -> AsofOfflineStoreConfig:
    options = config.offline_store
    if not isinstance(options, AsofOfflineStoreConfig):
        raise Misconfigured(
            f"The offline store is configured as {type(options).__name__}.", valid=["AsofOfflineStoreConfig"]
        )
    return options


def _query(options: AsofOfflineStoreConfig, text: str, relations: Mapping[str, pa.Table] | None = None) -> Query:
    return Query(text=text, relations=relations or {}, memory_limit=options.memory_limit, threads=options.threads)


@contextmanager
def _explained(timeout: float | None, memory_limit: str | None) -> Iterator[None]:
    try:
        yield
    except duckdb.InterruptException as error:
        raise TimeoutError(f"The features were not joined within {timeout} seconds.") from error
    except duckdb.OutOfMemoryException as error:
        raise Misconfigured(
            f"The join does not fit into memory_limit: {memory_limit}. {error}",
            value=memory_limit,
            hint="Raise memory_limit in the offline_store section, or join fewer entity rows at a time.",
        ) from error
    except (duckdb.DataError, duckdb.OperationalError, duckdb.BinderException, duckdb.InvalidInputException) as error:
        raise BadInput(f"The sources cannot be read as declared: {error}") from error
