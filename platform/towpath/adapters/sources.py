"""Reads a source (files, an S3 prefix, an SQL table) into one Parquet file."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from towpath.adapters.sources_csv import read_csv
from towpath.adapters.sources_files import DataFile, Format, QuotingRows, files_fingerprint, find_files
from towpath.adapters.sources_parquet import read_parquet
from towpath.adapters.sources_writer import Rows, write_snapshot
from towpath.core.errors import BadInput, TowpathError, Unwritable
from towpath.core.masking import Masking
from towpath.ports import Snapshot

if TYPE_CHECKING:
    from towpath.adapters.s3_client import S3Settings


class UriSources:
    """The `Sources` port: what is read is told by the URI.

    - `flights.csv`, `folder`, `folder/2013-*.parquet`: files, relative to `base`
    - `s3://bucket/prefix`: the objects below a prefix, or one object
    - `sqlite:///file.db#table`, `postgresql://user:password@host/database#schema.table`: a table or view

    The same rows give the same bytes. What cannot be read raises `BadInput` (mend the source), `Misconfigured` (mend
    the access) or `Unreachable` (try again).
    """

    def __init__(self, *, s3: S3Settings | None = None) -> None:
        self._s3 = s3

    def snapshot(
        self,
        uri: str,
        *,
        base: Path,
        target: Path,
        until: tuple[str, datetime] | None,
        masking: Masking | None = None,
    ) -> Snapshot:
        """Snapshot the rows of `uri` into `target`, those with `until[0] < until[1]` when given (UTC), masked."""
        try:
            return self._snapshot(uri, base, target, until, masking)
        except TowpathError as error:
            if masking is None:
                raise
            if not isinstance(error, QuotingRows):
                raise error from None  # an engine's own error, its cause, quotes the row
            place = uri.rpartition("#")[2] if "://" in uri else uri
            raise BadInput(
                f"{place} cannot be read, and why is not said: it may quote values, and columns of it are masked.",
                value=place,
                hint="Try it with a contract without masks where its values may be seen, in a state folder of its own.",
            ) from None

    def _snapshot(
        self, uri: str, base: Path, target: Path, until: tuple[str, datetime] | None, masking: Masking | None
    ) -> Snapshot:
        if uri.startswith("s3://"):
            return self._snapshot_s3(uri, target, until, masking)
        if "://" in uri:
            from towpath.adapters.sources_sql import read_table

            return write_snapshot(read_table(uri, base=base, until=until), target, until, masking)
        return write_snapshot(_read_files(find_files(uri, base), name=uri), target, until, masking)

    def fingerprint(self, uri: str, *, base: Path) -> str | None:
        """Files: over their names and digests. S3: over keys, sizes and ETags. SQL tables have none."""
        if uri.startswith("s3://"):
            from towpath.adapters.sources_s3 import objects_fingerprint

            return objects_fingerprint(uri, self._s3_settings())
        if "://" in uri:
            return None
        return files_fingerprint(find_files(uri, base))

    def _snapshot_s3(
        self, uri: str, target: Path, until: tuple[str, datetime] | None, masking: Masking | None
    ) -> Snapshot:
        from towpath.adapters.sources_s3 import download

        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            folder = tempfile.TemporaryDirectory(dir=target.parent, prefix=".download-")
        except OSError as error:
            raise Unwritable(
                f"Cannot download to {target.parent}: {error.strerror}.",
                value=str(target.parent),
                hint="Free space on its disk, or give this user the right to write there.",
            ) from error
        with folder as name:
            files = download(uri, self._s3_settings(), Path(name))
            return write_snapshot(_read_files(files, name=uri), target, until, masking)

    def _s3_settings(self) -> S3Settings:
        from towpath.adapters.s3_client import S3Settings

        return self._s3 or S3Settings()


def _read_files(files: Sequence[DataFile], *, name: str) -> Rows:
    read = {Format.CSV: read_csv, Format.PARQUET: read_parquet}[Format(files[0].path.suffix.lower())]
    return read(files, name=name)
