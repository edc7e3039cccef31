"""The Parquet files behind Feast's sources: found, looked into, and seen to have the columns that are declared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from feast.data_format import ParquetFormat
from feast.data_source import DataSource
from feast.infra.offline_stores.file_source import FileSource

from towpath.adapters import feast_asof_sql as sql
from towpath.adapters.feast_asof_query import Limits, Query
from towpath.core.errors import DeclarationError, NotFound

PUSHED = "pushed-"
"""How the names of files begin that hold rows written through Feast."""


@dataclass(frozen=True, kw_only=True)
class SourceReader:
    """Looks into sources. `repo_path` is the folder that relative paths count from."""

    repo_path: Path | None
    limits: Limits

    def scan(
        self, source: DataSource, *, event: str, created: str | None, columns: Sequence[str]
    ) -> tuple[sql.Scan, dict[str, str]]:
        """The files of a source and the DuckDB types of their columns by name.

        `event` and `created` name its time columns and `columns` all others that are needed, as they are stored. Raises
        `NotFound` for files and `DeclarationError` for a source of another kind or a column that is not there.
        """
        files = files_of(source, self.repo_path)
        described = Query(text=sql.describe(files), limits=self.limits).run()
        types = dict(zip(described["column_name"].to_pylist(), described["column_type"].to_pylist(), strict=True))
        needed = dict.fromkeys([event, *([created] if created else []), *columns])
        missing = [name for name in needed if name not in types]
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


def files_of(source: DataSource, repo_path: Path | None) -> tuple[str, ...]:
    """The Parquet files of a source, in the order in which they break ties: rows written through Feast stand last.

    Raises `NotFound` and, for a source of another kind, `DeclarationError`.
    """
    if not isinstance(source, FileSource) or not isinstance(source.file_format, ParquetFormat | None):
        raise DeclarationError(
            f"Source {source.name!r} is a {type(source).__name__} that this store cannot read.",
            value=type(source).__name__,
            valid=["FileSource of Parquet: a local file or folder"],
        )
    path = local_path(source.path, repo_path)
    if path.is_file():
        return (str(path),)
    inside = [file.relative_to(path) for file in path.rglob("*.parquet") if file.is_file()]
    # as Arrow and Spark have it: what begins with "." or "_" is not data
    shown = [file for file in inside if not any(part[0] in "._" for part in file.parts)]
    files = sorted(shown, key=lambda file: (file.name.startswith(PUSHED), str(file)))
    if not files:
        raise NotFound(
            f"Source {source.name!r}: no Parquet file at {source.path!r}.",
            value=source.path,
            hint="Write the data first; a relative path counts from the folder of feature_store.yaml.",
        )
    return tuple(str(path / file) for file in files)


def local_path(uri: str, repo_path: Path | None) -> Path:
    """A path as the feature repository writes it; raises `DeclarationError` for an address."""
    if "://" in uri:
        raise DeclarationError(
            f"{uri!r} is not a local path.", value=uri, hint="Copy the data to a local file or folder."
        )
    return (repo_path or Path()) / uri
