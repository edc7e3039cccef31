"""The checkpoint that every installation keeps beside its keys, away from the ledger's database.

It is written behind every decision, approval and emergency, and every 50 records; each verification compares with it.
Somebody who can write the database alone cannot cut off its end, or put an old copy back, without being found.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from towpath.core.errors import IntegrityError, TowpathError
from towpath.core.evidence import Record, RecordKind
from towpath.ledger import checkpoints
from towpath.ledger.chain import GATE
from towpath.ledger.checkpoints import Checkpoint
from towpath.ports import Keys

EVERY: Final = 50
_KINDS: Final = {RecordKind.DECISION, RecordKind.APPROVAL, RecordKind.EMERGENCY, RecordKind.HOLD}
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Noted:
    """The file that holds the checkpoint of one ledger, and the keys that sign it."""

    file: Path
    keys: Keys

    def due(self, record: Record) -> bool:
        """Whether a checkpoint is noted behind that record."""
        return record.kind in _KINDS or record.sequence % EVERY == 0

    def note(self, first: Record, last: Record, at: Callable[[int], str | None]) -> None:
        """Note the ledger as it is, unless more is noted, or what is noted is not in it: what is noted never shrinks.

        `at`: the hash of the record of a sequence number. Where the end was cut off and the ledger has grown past it
        since, what is noted stays, and every verification finds it.

        The record is written already, so what goes wrong here is logged and no more.
        """
        try:
            before = self.read()
            if before is not None and before.size < last.sequence and not _continues(before, first, at):
                _log.error("no checkpoint noted at record=%d: %s notes another ledger", last.sequence, self.file)
            elif before is None or before.size < last.sequence:
                self._write(checkpoints.write(checkpoints.checkpoint_of(first, last), self.keys))
        except (TowpathError, OSError) as error:
            _log.warning("no checkpoint noted at record=%d in %s: %s", last.sequence, self.file, error)

    def read(self) -> Checkpoint | None:
        """What is noted; None where nothing is. Raises `IntegrityError` for a file that holds no trusted checkpoint."""
        try:
            return checkpoints.read(self.file.read_text(encoding="utf-8"), self.keys)
        except FileNotFoundError:
            return None
        except (TowpathError, ValueError) as error:
            raise IntegrityError(
                f"{self.file} holds no checkpoint that a trusted key signed.",
                gate=GATE,
                value=str(self.file),
                hint="Find out who changed it; then compare with a checkpoint kept elsewhere, and remove the file.",
            ) from error

    def set_aside(self) -> Path | None:
        """Rename the file, so that another ledger may be noted; it stays for whoever asks. Returns its new name."""
        if not self.file.exists():
            return None
        number = next(n for n in range(1, 10_000) if not self.file.with_suffix(f".{n}").exists())
        return self.file.rename(self.file.with_suffix(f".{number}"))

    def _write(self, text: str) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, name = tempfile.mkstemp(dir=self.file.parent)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(self.file)


def _continues(before: Checkpoint, first: Record, at: Callable[[int], str | None]) -> bool:
    """Whether the ledger that begins with `first` still holds what was noted of it."""
    return before.origin == checkpoints.origin(first.hash) and before.head == at(before.size)
