"""Feast's SQLite online store, read directly: one read-only connection, a lookup by primary key per view and entity."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from towpath.adapters.online_codec import Decode, KeyEncoder, decoders
from towpath.adapters.online_description import Description, View
from towpath.core.errors import NotFound, Unreachable
from towpath.ports import Lookup, OnlineAnswer

_LOCKED_SECONDS = 0.02  # how long a writer that commits may keep us, and with us the event loop
_INLINE = 64  # keys; more are read beside the event loop
_AT_ONCE = 500  # keys of one statement


class _Table:
    """One view's statements and codecs."""

    def __init__(self, project: str, view: View) -> None:
        name = f"{project}_{view.table}".replace('"', '""')
        self.key = KeyEncoder(view)
        self.one = f'SELECT feature_name, value, event_ts FROM "{name}" WHERE entity_key = ?'
        self.many = f'SELECT entity_key, feature_name, value, event_ts FROM "{name}" WHERE entity_key IN '
        self._view = view
        self._decoders: dict[tuple[str, ...], dict[str, Decode]] = {}

    def decoders(self, features: Sequence[str]) -> dict[str, Decode]:
        wanted = tuple(features)
        found = self._decoders.get(wanted)
        if found is None:
            found = self._decoders[wanted] = dict(zip(wanted, decoders(self._view, wanted), strict=True))
        return found


class SqliteOnline:
    """The port `OnlineStore`."""

    def __init__(self, description: Description) -> None:
        path = Path(description.options["path"])
        if not path.is_file():
            raise NotFound(
                f"There is no online store at {path}.", value=str(path), hint="Run the featurize stage again."
            )
        self.views = {view.name: view for view in description.views}
        self._tables = {view.name: _Table(description.project, view) for view in description.views}
        self._description = description
        self._path = path
        self._database = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro",
            uri=True,
            timeout=_LOCKED_SECONDS,
            check_same_thread=False,
            isolation_level=None,
        )

    def at_hand(self, view: str, features: tuple[str, ...], keys: Sequence[tuple[object, ...]]) -> None:
        """Nothing: it is asked every time."""

    async def read(self, lookups: Sequence[Lookup]) -> list[list[OnlineAnswer | None]]:
        """Microseconds for a few keys, so they are read in the event loop. Raises `Unreachable` and `NotFound`."""
        if sum(len(lookup.keys) for lookup in lookups) > _INLINE:
            return await asyncio.to_thread(self._read_all, lookups)
        return self._read_all(lookups)

    async def close(self) -> None:
        self._database.close()

    def _read_all(self, lookups: Sequence[Lookup]) -> list[list[OnlineAnswer | None]]:
        return [self._read(lookup) for lookup in lookups]

    def _read(self, lookup: Lookup) -> list[OnlineAnswer | None]:
        table = self._tables.get(lookup.view)
        if table is None:
            self._description.view(lookup.view)
            raise AssertionError(lookup.view)
        decode = table.decoders(lookup.features)
        encoded = list(map(table.key, lookup.keys))
        try:
            if len(encoded) == 1:
                rows = [] if encoded[0] is None else self._database.execute(table.one, encoded).fetchall()
                return [_answer(rows, decode)]
            found = self._rows(table, [key for key in dict.fromkeys(encoded) if key is not None])
        except sqlite3.Error as error:
            raise Unreachable(
                f"The online store at {self._path} does not answer: {error}.", value=str(self._path)
            ) from error
        return [None if key is None else _answer(found.get(key, []), decode) for key in encoded]

    def _rows(self, table: _Table, keys: Sequence[bytes]) -> dict[bytes, list[tuple[str, bytes, object]]]:
        found: dict[bytes, list[tuple[str, bytes, object]]] = {}
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            places = ",".join("?" * len(some))
            for key, name, value, at in self._database.execute(f"{table.many}({places})", some):
                found.setdefault(key, []).append((name, value, at))
        return found


def _answer(rows: Sequence[tuple[str, bytes, object]], decode: dict[str, Decode]) -> OnlineAnswer | None:
    """The rows of one entity, one a feature."""
    if not rows:
        return None
    values: dict[str, object] = dict.fromkeys(decode)
    for name, value, _ in rows:
        if name in decode:
            values[name] = decode[name](value)
    return OnlineAnswer(values=values, at=_time(rows[-1][2]).timestamp())


def _time(at: object) -> datetime:
    """Feast stores a naive UTC time as if it were the machine's local time, and reads it back in the same way."""
    if isinstance(at, str):
        found = datetime.fromisoformat(at)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    assert isinstance(at, int | float)
    return datetime.fromtimestamp(int(at)).replace(tzinfo=UTC)  # noqa: DTZ006
