"""CSV and Parquet objects of a bucket, as local files."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from towpath.adapters.s3_client import Bucket, S3Settings, StoredObject
from towpath.adapters.sources_files import DataFile, chosen, is_data, near
from towpath.core.digest import of_json
from towpath.core.errors import BadInput, NotFound, Unreachable, Unwritable


def download(uri: str, settings: S3Settings, folder: Path) -> list[DataFile]:
    """Download the objects of `s3://bucket/prefix` into `folder`: the object of that key, else those below `prefix/`.

    Raises `BadInput` when there are none or not of one format, `Unreachable`, `Misconfigured`, `Unwritable`.
    """
    bucket, prefix = _parse(uri, settings)
    found = _objects(bucket, prefix, uri)
    # Local names are numbers: a key may hold anything, '..' included.
    files = [
        DataFile(
            path=folder / f"{number:06}{PurePosixPath(item.key).suffix.lower()}",
            name=f"s3://{bucket.name}/{item.key}",
            place=_place(item.key, prefix),
        )
        for number, item in enumerate(found)
    ]
    sizes = {file.path: item for file, item in zip(files, found, strict=True)}
    wanted = chosen(files, name=uri)
    for file in wanted:
        _fetch(bucket, sizes[file.path], file)
    return wanted


def objects_fingerprint(uri: str, settings: S3Settings) -> str:
    """A digest over the objects' keys, sizes and ETags; nothing is downloaded."""
    bucket, prefix = _parse(uri, settings)
    return of_json([[item.key, item.size, item.etag] for item in _objects(bucket, prefix, uri)])


def _parse(uri: str, settings: S3Settings) -> tuple[Bucket, str]:
    name, _, prefix = uri.removeprefix("s3://").partition("/")
    if not name:
        raise BadInput(f"{uri!r} names no bucket.", value=uri, hint="Write s3://bucket/prefix.")
    return Bucket(name, settings), prefix.rstrip("/")


def _objects(bucket: Bucket, prefix: str, uri: str) -> list[StoredObject]:
    """A prefix means a whole name: `s3://b/flights` does not take `flights_old/…` with it."""
    found = list(bucket.objects(prefix))
    exact = [item for item in found if item.key == prefix]
    below = [item for item in found if not prefix or item.key.startswith(f"{prefix}/")]
    kept = exact or [item for item in below if not item.key.endswith("/") and is_data(_place(item.key, prefix))]
    if not kept:
        alike = _near(bucket, prefix)
        meant = f" Did you mean {' or '.join(alike)}?" if alike else ""
        raise BadInput(
            f"Bucket {bucket.name!r} has no object {prefix!r} and none below it.{meant}",
            value=uri,
            hint="Write s3://bucket/prefix, where prefix is a key or a folder of keys.",
        )
    return kept


def _near(bucket: Bucket, prefix: str) -> list[str]:
    """Prefixes beside the given one whose last part is like its last part."""
    parent, slash, last = prefix.rpartition("/")
    folder = parent + slash
    names = {item.key.removeprefix(folder).partition("/")[0] for item in bucket.objects(folder)}
    return [folder + name for name in near(last, sorted(names))]


def _place(key: str, prefix: str) -> str:
    return PurePosixPath(key).name if key == prefix else key[len(prefix) :].lstrip("/")


def _fetch(bucket: Bucket, item: StoredObject, file: DataFile) -> None:
    try:
        there = bucket.download(item.key, file.path)
        size = file.path.stat().st_size if there else -1
    except OSError as error:
        raise Unwritable(
            f"Cannot write {file.path} while reading {file.name}: {error.strerror}.",
            value=str(file.path.parent),
            hint="Free space on its disk, or give this user the right to write there.",
        ) from error
    if not there:
        raise NotFound(
            f"{file.name} was removed while it was being read.", value=file.name, hint="Read the source again."
        )
    if size != item.size:
        raise Unreachable(
            f"{file.name} changed while it was being read ({item.size} bytes, then {size}).",
            value=file.name,
            hint="Try again when nothing writes to it any more.",
        )
