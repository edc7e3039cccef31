"""Backup and restore: every table of the ledger's database in one file that proves itself before it is put back.

The file is a ZIP archive: `records.jsonl`, which is an export; `checkpoint.txt`; `<table>.jsonl` for each other table;
and `manifest.json` with the digest of each, signed by the ledger's key. What is restored has every byte of every field
that was hashed, so it verifies in the other database as it did in the first.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Table, insert, select

from towpath.core import digest as digests
from towpath.core.errors import BadInput, Denied, IntegrityError, Unwritable
from towpath.ledger import chain, checkpoints, schema
from towpath.ledger.canonical import canonical
from towpath.ledger.chain import GATE, Stored
from towpath.ledger.checkpoints import Checkpoint
from towpath.ledger.engine import Database, connect
from towpath.ledger.export import rows_of, verify_export
from towpath.ledger.table import metadata, records
from towpath.ledger.trust import Trust
from towpath.ports import Fault, Keys, Purpose, Verification

_RECORDS: Final = "records.jsonl"
_CHECKPOINT: Final = "checkpoint.txt"
_MANIFEST: Final = "manifest.json"
_BATCH: Final = 500


@dataclass(frozen=True, kw_only=True)
class Backup:
    """What a backup holds."""

    checkpoint: Checkpoint
    verification: Verification
    rows: Mapping[str, int]  # of every table


def backup(url: str, file: Path, *, keys: Keys) -> Backup:
    """Write every table, as they are at one moment, to a file that takes the place of another only when it is whole.

    Raises `IntegrityError` for a ledger that is not whole, `BadInput` for an empty one, and `Unwritable`.
    """
    database = connect(url)
    try:
        schema.upgrade(database)
        members, found = _dumped(database, keys)
    finally:
        database.engine.dispose()
    manifest = canonical({name: digests.of_bytes(data) for name, data in members.items()})
    signer, signature = keys.sign(Purpose.LEDGER, manifest.encode())
    signed = {
        "manifest": json.loads(manifest),
        "signer": signer,
        "signature": base64.b64encode(signature).decode(),
    }
    scratch = file.with_name(f".{file.name}.part")
    try:
        with zipfile.ZipFile(scratch, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in {**members, _MANIFEST: canonical(signed).encode()}.items():
                archive.writestr(name, data)
        scratch.replace(file)
    except OSError as error:
        raise Unwritable(f"{file} cannot be written: {error.strerror}.", value=str(file)) from error
    finally:
        scratch.unlink(missing_ok=True)
    return found


def read(file: Path, *, keys: Keys) -> tuple[Backup, Mapping[str, bytes]]:
    """A backup's contents, verified: by its signature, by every record's hash and signature, by its checkpoint.

    Raises `BadInput` for a file that is no backup, and `IntegrityError` for one that is not as it was written or is
    signed by no trusted key.
    """
    members, signed = _opened(file)
    try:
        manifest = canonical(signed["manifest"])
        signature = base64.b64decode(signed["signature"], validate=True)
        signer = str(signed["signer"])
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise BadInput(f"{file} is no backup of a ledger: its manifest cannot be read.", value=str(file)) from error
    if not keys.verifies(Purpose.LEDGER, signer, manifest.encode(), signature):
        raise IntegrityError(
            f"The backup {file} is not signed by a trusted key.",
            gate=GATE,
            value=signer,
            valid=sorted(keys.trusted(Purpose.LEDGER)),
            hint="Set TOWPATH_KEYS to the folder with the keys of the installation that wrote it.",
        )
    if {name: digests.of_bytes(data) for name, data in members.items()} != signed["manifest"]:
        raise IntegrityError(f"The backup {file} is not as it was written.", gate=GATE, value=str(file))
    checkpoint = checkpoints.read(members[_CHECKPOINT].decode(), keys)
    found = verify_export(io.BytesIO(members[_RECORDS]), trust=Trust.of(keys), checkpoints=[checkpoint])
    _require_whole(found, f"The backup {file}")
    return Backup(checkpoint=checkpoint, verification=found, rows=_counted(members)), members


def restore(file: Path, url: str, *, keys: Keys) -> Backup:
    """Put a backup into an empty ledger, in one transaction, and verify it there.

    Raises what `read` raises, and `Denied` for a ledger that holds anything.
    """
    found, members = read(file, keys=keys)
    database = connect(url)
    try:
        schema.upgrade(database)
        with database.writing() as connection:
            _require_empty(connection, database)
            _insert(connection, records, (asdict(row) for row in _records(members)))
            for table in _others():
                _insert(connection, table, map(json.loads, members.get(f"{table.name}.jsonl", b"").splitlines()))
            # `restore` ends here with the whole backup or with nothing.
            _require_whole(_verified(connection, keys, found.checkpoint), f"What was restored into {database.name}")
    finally:
        database.engine.dispose()
    return found


def _dumped(database: Database, keys: Keys) -> tuple[dict[str, bytes], Backup]:
    with database.writing() as connection:  # nobody writes meanwhile: the tables belong together
        rows = [Stored(**dict(row)) for row in connection.execute(_ordered(records)).mappings()]
        others = {
            f"{table.name}.jsonl": b"".join(
                canonical(dict(row)).encode() + b"\n" for row in connection.execute(_ordered(table)).mappings()
            )
            for table in _others()
        }
    if not rows:
        raise BadInput(f"The ledger {database.name} is empty.", value=database.name)
    lines = b"".join(chain.line_of(row).encode("utf-8", "surrogateescape") + b"\n" for row in rows)
    _require_whole(verify_export(io.BytesIO(lines), trust=Trust.of(keys)), f"The ledger {database.name}")
    checkpoint = checkpoints.checkpoint_of(chain.read(rows[0]), chain.read(rows[-1]))
    members = {_RECORDS: lines, _CHECKPOINT: checkpoints.write(checkpoint, keys).encode(), **others}
    found = verify_export(io.BytesIO(lines), trust=Trust.of(keys), checkpoints=[checkpoint])
    return members, Backup(checkpoint=checkpoint, verification=found, rows=_counted(members))


def _opened(file: Path) -> tuple[dict[str, bytes], Any]:
    try:
        with zipfile.ZipFile(file) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        signed = json.loads(members.pop(_MANIFEST))
    except (OSError, zipfile.BadZipFile, zipfile.LargeZipFile, KeyError, ValueError, EOFError) as error:
        raise BadInput(
            f"{file} is no backup of a ledger, or is cut short: {str(error).rstrip('.')}.",
            value=str(file),
            hint="`towpath ledger backup FILE` writes one.",
        ) from error
    if not {_RECORDS, _CHECKPOINT} <= set(members):
        raise BadInput(f"{file} is no backup of a ledger: it has no records.", value=str(file))
    return members, signed


def _records(members: Mapping[str, bytes]) -> Iterator[Stored]:
    for row in rows_of(io.BytesIO(members[_RECORDS])):
        if isinstance(row, Fault):  # verified before: not reached
            raise IntegrityError(row.what, gate=GATE, value=row.sequence)
        yield row


def _insert(connection: Connection, table: Table, rows: Iterator[dict[str, Any]]) -> None:
    batch: list[dict[str, Any]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == _BATCH:
            connection.execute(insert(table), batch)
            batch = []
    if batch:
        connection.execute(insert(table), batch)


def _require_empty(connection: Connection, database: Database) -> None:
    for table in metadata.sorted_tables:
        if connection.execute(select(table).limit(1)).first() is not None:
            raise Denied(
                f"The ledger {database.name} is not empty: {table.name} has rows.",
                value=database.name,
                hint="A backup is restored into a new database only. Name another one.",
            )


def _verified(connection: Connection, keys: Keys, checkpoint: Checkpoint) -> Verification:
    from towpath.ledger.verification import verify_stored

    rows = (Stored(**dict(row)) for row in connection.execute(_ordered(records)).mappings())
    return verify_stored(rows, trust=Trust.of(keys), checkpoints=[checkpoint])


def _require_whole(found: Verification, what: str) -> None:
    if found.verdict is not None:
        raise IntegrityError(
            f"{what} is not as it was written ({found.verdict.kind}): {found.verdict.what}",
            gate=GATE,
            value=str(found.verdict.sequence),
            hint="Nothing was written.",
        )


def _counted(members: Mapping[str, bytes]) -> dict[str, int]:
    return {name.removesuffix(".jsonl"): data.count(b"\n") for name, data in members.items() if name.endswith(".jsonl")}


def _others() -> list[Table]:
    return [table for table in metadata.sorted_tables if table is not records]


def _ordered(table: Table) -> Any:
    return select(table).order_by(*table.primary_key.columns)
