"""Feast's retrieval job over one query: its result beside the caller's own columns, and saved data sets."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.infra.offline_stores.file_source import SavedDatasetFileStorage
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.saved_dataset import SavedDatasetStorage

from towpath.adapters.feast_asof_sources import local_path
from towpath.adapters.feast_asof_write import whole_file, whole_folder
from towpath.core.errors import BadInput


class Runs(Protocol):
    """A statement that has been planned and checked."""

    @property
    def text(self) -> str: ...

    def run(self, timeout: float | None = None) -> pa.Table:
        """The result. `timeout` in seconds."""
        ...

    def opened(self, timeout: float | None = None) -> AbstractContextManager[pa.RecordBatchReader]:
        """The result batch by batch."""
        ...


class AsofRetrievalJob(RetrievalJob):  # type: ignore[misc]
    """A query that has been planned and checked; it runs when a result is asked for.

    With `beside`, the query's columns are named `columns` and stand to the right of that table's, row by row.
    """

    def __init__(
        self,
        query: Runs,
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
        """Write the result as Parquet, whole or not at all: one file, or a folder with one file in it.

        It goes there batch by batch: the features need not fit into memory, as the entity rows must, unless there are
        on-demand feature views.
        """
        if not isinstance(storage, SavedDatasetFileStorage):
            raise BadInput(
                f"A saved dataset cannot be written to {type(storage).__name__}.",
                value=type(storage).__name__,
                valid=["SavedDatasetFileStorage of a local path"],
            )
        target = local_path(storage.file_options.uri, self._repo_path)
        filled = any(target.iterdir()) if target.is_dir() else target.exists()
        if filled and not allow_overwrite:
            raise SavedDatasetLocationAlreadyExists(location=str(target))
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_dir() or target.suffix != ".parquet":
            with whole_folder(target) as folder:
                self.write(folder / "part-0.parquet", timeout=timeout)
        else:
            self.write(target, timeout=timeout)

    def write(self, target: Path, *, timeout: int | None = None) -> int:
        """Write the result to a Parquet file, whole or not at all, and say how many rows it has."""
        if self._on_demand_feature_views:
            table = self.to_arrow(timeout=timeout)
            with whole_file(target) as unfinished:
                pq.write_table(table, unfinished, compression="zstd")
            return int(table.num_rows)
        rows = 0
        with self._query.opened(timeout) as reader, whole_file(target) as unfinished:
            schema = self._schema(reader.schema)
            with pq.ParquetWriter(unfinished, schema, compression="zstd") as writer:
                for batch in reader:
                    columns = list(batch.columns)
                    if self._beside is not None:
                        columns = [*self._beside.slice(rows, batch.num_rows).columns, *columns]
                    writer.write_table(pa.Table.from_arrays(columns, schema=schema))
                    rows += batch.num_rows
        return rows

    def _schema(self, result: pa.Schema) -> pa.Schema:
        if self._beside is None:
            return result
        named = [field.with_name(name) for field, name in zip(result, self._columns, strict=True)]
        return pa.schema([*self._beside.schema, *named], metadata=self._beside.schema.metadata)
