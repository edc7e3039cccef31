"""What the Spark store asks of Feast's: views of ours over the sources, its query, and the answer in Arrow."""

from __future__ import annotations

import io
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from feast import Entity, FeatureView, Field, ValueType
from feast.infra.offline_stores.contrib.spark_offline_store.spark import SparkOfflineStore
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.infra.registry.base_registry import BaseRegistry
from feast.repo_config import RepoConfig
from feast.types import String

from towpath.adapters import feast_asof_sql as sql
from towpath.adapters.feast_asof_entities import EntityRows
from towpath.adapters.spark_parquet import FILE, LINE, escaped, read_parquet
from towpath.adapters.spark_session import SparkMaster, spark_session
from towpath.core import names
from towpath.core.errors import BadInput

# Feast writes years without leading zeros, which Spark does not read.
_EARLIEST = datetime(1000, 1, 1, tzinfo=UTC)
_EVENT, _CREATED, _KEY = "towpath_event", "towpath_created", "towpath_key"


class _Collected(ABC):
    """What Spark answers comes whole."""

    @abstractmethod
    def run(self, timeout: float | None = None) -> pa.Table:
        """The result. `timeout` is not Spark's to keep."""

    @contextmanager
    def opened(self, timeout: float | None = None) -> Iterator[pa.RecordBatchReader]:
        """The result batch by batch; it has to fit into memory all the same."""
        yield self.run(timeout).to_reader()


@dataclass(frozen=True, kw_only=True)
class SparkJoin(_Collected):
    """Entity rows joined to views, point in time. The result has the features in the rows' order."""

    config: RepoConfig
    registry: BaseRegistry
    views: tuple[sql.ViewJoin, ...]
    rows: EntityRows
    feature_times: bool

    @property
    def text(self) -> str:
        """Spark's statements depend on views that live as long as the query runs."""
        return f"-- Feast's SparkOfflineStore over {len(self.views)} views"

    def run(self, timeout: float | None = None) -> pa.Table:
        """The features, as `columns` of the job names them. `timeout` is not Spark's to keep."""
        _refuse_timeout(timeout)
        with _feast_on_spark(self.config) as session:
            keys = [_keys_of(session, index, view, self.rows) for index, view in enumerate(self.views)]
            views = [_view(index, view) for index, view in enumerate(self.views)]
            refs = [f"{view.name}:{field.name}" for view in views for field in view.features]
            job = SparkOfflineStore.get_historical_features(
                self.config, views, refs, self._asked(keys), self.registry, self.config.project,
                filter_by_created_timestamp=True,
            )  # fmt: skip
            found = job.to_spark_df().orderBy(sql.ROW).toArrow().slice(self._more)
        if found[sql.ROW].to_pylist() != self.rows.joined[sql.ROW].to_pylist():
            raise BadInput(
                f"Spark joined {found.num_rows} rows to {self.rows.joined.num_rows} entity rows.",
                value=found.num_rows,
                hint="Join in DuckDB: name towpath.adapters.feast_asof.AsofOfflineStore.",
            )
        features = [f"f{index}_{one}" for index, view in enumerate(self.views) for one in range(len(view.features))]
        if self.feature_times:
            features += [f"{name}_{index}" for index in range(len(self.views)) for name in (_EVENT, _CREATED)]
        return found.select(features)

    def _asked(self, keys: Sequence[Sequence[str | None]]) -> pd.DataFrame:
        """The entity rows for Feast: a number, a time, and one key a view."""
        numbers, times = (self.rows.joined[name].to_pylist() for name in (sql.ROW, sql.AT))
        more = self._more
        frame = pd.DataFrame({sql.ROW: [*numbers, *[-1] * more]})
        at = pd.Series([*times, *[0] * more], dtype="Int64")
        frame[names.EVENT_TIME] = pd.to_datetime(at, unit="us", utc=True).astype("datetime64[us, UTC]")
        for index, values in enumerate(keys):
            frame[f"{_KEY}_{index}"] = pd.Series([*values, *[None] * more], dtype="string")
        return frame

    @property
    def _more(self) -> int:
        """A row of nobody in 1970, where no row has a time: Feast asks for the earliest and the latest."""
        return int(self.rows.first is None)


@dataclass(frozen=True, kw_only=True)
class SparkRows(_Collected):
    """A source's rows with an event timestamp in `span`, in stored order; with `latest` the newest one of each key."""

    config: RepoConfig
    scan: sql.Scan
    keys: tuple[str, ...]
    columns: tuple[str, ...]
    span: tuple[datetime | None, datetime | None]
    constant: tuple[str, str] | None = None
    latest: bool = False

    @property
    def text(self) -> str:
        """Spark's statement depends on a view that lives as long as the query runs."""
        return f"-- Feast's SparkOfflineStore over {self.scan.files[0]}"

    def run(self, timeout: float | None = None) -> pa.Table:
        """The rows, with the source's columns. `timeout` is not Spark's to keep."""
        _refuse_timeout(timeout)
        pull = SparkOfflineStore.pull_all_from_table_or_query
        if self.latest:
            pull = SparkOfflineStore.pull_latest_from_table_or_query
        start, end = self.span
        keys = [f"{_KEY}_{at}" for at in range(len(self.keys) or 1)]
        columns = [f"c{at}" for at in range(len(self.columns))]
        with _feast_on_spark(self.config) as session:
            self._viewed(session, keys, columns)
            source = SparkSource(name="towpath_source", table="towpath_source", timestamp_field=_EVENT)
            job = pull(
                self.config, source, keys, [*columns, FILE, LINE], _EVENT, _CREATED,
                max(start or _EARLIEST, _EARLIEST), end or datetime.max.replace(tzinfo=UTC),
            )  # fmt: skip
            found = job.to_spark_df().orderBy(FILE, LINE).toArrow()
        table = found.select(columns).rename_columns(list(self.columns))
        if self.constant:
            table = table.append_column(self.constant[0], pa.array([self.constant[1]] * table.num_rows, pa.string()))
        return table

    def _viewed(self, session: Any, keys: Sequence[str], columns: Sequence[str]) -> None:
        """Register the rows, as known at the end date where the store is set so, under names that need no quotes."""
        from pyspark.sql import functions as spark

        frame = _rows(session, self.scan)
        if self.config.offline_store.materialize_as_known_at and self.scan.created and self.span[1] is not None:
            frame = frame.where(spark.col(_CREATED) <= spark.lit(self.span[1]))
        parts = [spark.col(escaped(key)) for key in self.keys] or [spark.lit("")]
        if self.latest:
            frame = _last(frame, [*parts, spark.col(_EVENT), spark.col(_CREATED)])
        frame.select(
            *(part.alias(key) for key, part in zip(keys, parts, strict=True)),
            *(spark.col(escaped(name)).alias(column) for name, column in zip(self.columns, columns, strict=True)),
            *(_EVENT, _CREATED, FILE, LINE),
        ).createOrReplaceTempView("towpath_source")


@contextmanager
def _feast_on_spark(config: RepoConfig) -> Iterator[Any]:
    """A Spark session that Feast takes for its own. It prints what it does and warns that it is experimental."""
    with (
        spark_session(SparkMaster(address=config.offline_store.master)) as session,
        warnings.catch_warnings(),
        redirect_stdout(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        for name, value in (config.offline_store.spark_conf or {}).items():
            session.conf.set(name, value)
        session.conf.set("spark.sql.execution.arrow.pyspark.enabled", "true")
        session._get_j_spark_session_class(session._jvm).setActiveSession(session._jsparkSession)
        type(session)._activeSession = session
        yield session


def _view(index: int, view: sql.ViewJoin) -> FeatureView:
    """A feature view of Feast's over the Spark view of that number."""
    key = Entity(name=f"{_KEY}_{index}", join_keys=[f"{_KEY}_{index}"], value_type=ValueType.STRING)
    # The types stand for themselves in Feast's query; its own conversion is not used.
    features = [*(f"f{index}_{at}" for at in range(len(view.features))), f"{_EVENT}_{index}", f"{_CREATED}_{index}"]
    made = FeatureView(
        name=f"towpath_view_{index}",
        entities=[key],
        ttl=view.ttl,
        schema=[Field(name=name, dtype=String) for name in (key.join_key, *features)],
        source=SparkSource(
            name=f"towpath_source_{index}",
            table=f"towpath_source_{index}",
            timestamp_field=_EVENT,
            created_timestamp_column=_CREATED,
        ),
    )
    made.entity_columns = [field for field in made.schema if field.name == key.join_key]
    made.features = [field for field in made.schema if field.name != key.join_key]
    return made


def _keys_of(session: Any, index: int, view: sql.ViewJoin, rows: EntityRows) -> list[str | None]:
    """Register the view's rows under its number, and write the entity rows' keys as the view's are written."""
    from pyspark.sql import functions as spark

    source = [spark.col(escaped(column)) for column, _ in view.keys]
    frame = _rows(session, view.scan).withColumn(_KEY, _key(source or [spark.lit("")]))
    key = f"{_KEY}_{index}"
    last = _last(frame, [spark.col(name) for name in (_KEY, _EVENT, _CREATED)])
    features = [spark.col(escaped(column)).alias(f"f{index}_{at}") for at, (column, _) in enumerate(view.features)]
    last.where(f"{_KEY} IS NOT NULL AND {_EVENT} IS NOT NULL AND {_CREATED} IS NOT NULL").select(
        spark.col(_KEY).alias(key),
        _EVENT,
        _CREATED,
        *features,
        spark.col(_EVENT).alias(f"{_EVENT}_{index}"),
        spark.col(_CREATED).alias(f"{_CREATED}_{index}"),
    ).createOrReplaceTempView(f"towpath_source_{index}")
    if not view.keys:
        return [_written([""])] * rows.joined.num_rows
    types = [dict(frame.dtypes)[column] for column, _ in view.keys]
    columns = [rows.joined[column] for _, column in view.keys]
    for (column, _), stored, values in zip(view.keys, types, columns, strict=True):
        _refuse_fractions(view.prefix, column, stored, values.type)
    asked = pa.table({f"k{at}": _plain(values) for at, values in enumerate(columns)})
    asked_frame = session.createDataFrame(asked)
    casts = [spark.col(f"k{at}").try_cast(kind) for at, kind in enumerate(types)]  # no row has a key out of its range
    written: list[str | None] = asked_frame.select(_key(casts).alias(_KEY)).toArrow()[_KEY].to_pylist()
    return written


def _rows(session: Any, scan: sql.Scan) -> Any:
    """A source's rows with their place and their times in UTC."""
    from pyspark.sql import functions as spark

    files = [Path(file) for file in scan.files]
    frame = read_parquet(session, files, what=f"the source {files[0].name}", located=True, up=True)
    created = spark.col(escaped(scan.created.name)) if scan.created else spark.lit(None)
    event = spark.col(escaped(scan.event.name)).cast("timestamp")
    return frame.select("*", event.alias(_EVENT), created.cast("timestamp").alias(_CREATED))


def _last(frame: Any, alike: Sequence[Any]) -> Any:
    """Of rows that are alike, the one that stands last in the files."""
    from pyspark.sql import Window
    from pyspark.sql import functions as spark

    order = Window.partitionBy(*alike).orderBy(spark.col(FILE).desc(), spark.col(LINE).desc())
    return frame.withColumn("_towpath_rank", spark.row_number().over(order)).where("_towpath_rank = 1")


def _key(parts: Sequence[Any]) -> Any:
    """A key as one text in which each part says how long it is, so that no two keys are written alike."""
    from pyspark.sql import functions as spark

    texts = [part.cast("string") for part in parts]
    return spark.concat(
        *(piece for text in texts for piece in (spark.length(text).cast("string"), spark.lit(":"), text))
    )


def _written(parts: Sequence[str]) -> str:
    return "".join(f"{len(part)}:{part}" for part in parts)


def _plain(values: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = values.type
    if pa.types.is_dictionary(kind):
        return values.cast(kind.value_type)
    return values.cast(pa.string()) if pa.types.is_null(kind) else values


def _refuse_fractions(view: str, key: str, stored: str, given: pa.DataType) -> None:
    """A cast would cut the fraction, and match a key that is another."""
    if pa.types.is_floating(given) and stored not in ("float", "double"):
        raise BadInput(
            f"Feature view {view!r}: key {key!r} is stored as {stored}, the entity rows' is {given}.",
            value=str(given),
            hint="Give both the same type; pandas keeps whole numbers beside nulls as Int64.",
        )


def _refuse_timeout(timeout: float | None) -> None:
    if timeout is not None:
        raise BadInput("A join in Spark keeps no timeout.", value=timeout, hint="Ask without one.")
