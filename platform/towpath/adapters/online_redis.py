"""Feast's Redis online store, read directly: a hash per entity, with a field a feature and a time a view.

The hash's key is the encoded entity key and the project; a field is the murmur3 hash of `view:feature`, the time's is
`_ts:view`. https://github.com/feast-dev/feast/blob/master/docs/specs/online_store_format.md

Rows that were read are held, and dropped as soon as the server says that their hash was written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import mmh3

from towpath.adapters.online_codec import DecodeRow, KeyEncoder, decode_time, row_decoder
from towpath.adapters.online_description import Description, View
from towpath.adapters.online_redis_connection import RedisAddress, RedisConnection, bulk
from towpath.ports import Lookup, OnlineAnswer

_KNOWN = frozenset({"db", "ssl", "password", "username", "socket_timeout", "socket_connect_timeout"})
_REMEMBERED = 8_192  # commands of a read
_MOST_HELD = 50_000  # entities

Wanted = tuple[str, tuple[str, ...]]  # a view, and its features that are read
Held = tuple[tuple[type, ...], OnlineAnswer | None]  # the types of the key's values, for True is 1; what was read


class _Read:
    """Reading features of views of one entity, whose values are in one hash: the command, and decoding the reply."""

    def __init__(self, views: Sequence[tuple[View, Sequence[str]]], project: str) -> None:
        fields: list[bytes] = []
        self._parts: list[tuple[int, int, tuple[str, ...], DecodeRow]] = []
        for view, features in views:
            names = tuple(features)
            self._parts.append((len(fields), len(fields) + len(names), names, row_decoder(view, names)))
            fields += [mmh3.hash(f"{view.table}:{name}", signed=False).to_bytes(4, "little") for name in names]
            fields.append(f"_ts:{view.table}".encode())
        self._head = b"*%d\r\n$5\r\nHMGET\r\n" % (len(fields) + 2)
        self._tail = b"".join(map(bulk, fields))
        self._project = project.encode()
        self._encode = KeyEncoder(views[0][0])
        # typed: 1 is a key where True is none
        self.command = lru_cache(maxsize=_REMEMBERED, typed=True)(self._command)

    def _command(self, *key: object) -> tuple[bytes, bytes] | None:
        """The hash's name and the command; None for a key that no entity can have."""
        encoded = self._encode(key)
        if encoded is None:
            return None
        name = encoded + self._project
        return name, self._head + bulk(name) + self._tail

    def answers(self, reply: Sequence[bytes | None]) -> list[OnlineAnswer | None]:
        """One for each view."""
        found: list[OnlineAnswer | None] = []
        for start, end, names, decode in self._parts:
            row, at = reply[start:end], reply[end]
            if at is None and not any(row):
                found.append(None)
            else:
                values = dict(zip(names, decode(row), strict=True))
                found.append(OnlineAnswer(values=values, at=decode_time(at)))
        return found


class _Memory:
    """Rows that were read, by what was asked; dropped by the name of their hash."""

    def __init__(self) -> None:
        self.changes = 0
        """How often something was dropped: what was on its way meanwhile may be older than that."""
        self._rows: dict[Wanted, dict[tuple[object, ...], Held]] = {}
        self._behind: dict[bytes, list[tuple[Wanted, tuple[object, ...]]]] = {}

    def answers(self, wanted: Wanted, keys: Sequence[tuple[object, ...]]) -> list[OnlineAnswer | None] | None:
        """A row for each of the entities; None unless every one is held."""
        rows = self._rows.get(wanted)
        if rows is None:
            return None
        found: list[OnlineAnswer | None] = []
        for key in keys:
            held = rows.get(key)
            if held is not None and held[0] == tuple(map(type, key)):
                found.append(held[1])
            elif None in key:  # no entity has such a key
                found.append(None)
            else:
                return None
        return found

    def hold(
        self, name: bytes, key: tuple[object, ...], wanted: Sequence[Wanted], row: Sequence[OnlineAnswer | None]
    ) -> None:
        """Keep what the hash of that name holds."""
        if name not in self._behind and len(self._behind) >= _MOST_HELD:
            self._drop(next(iter(self._behind)))
        kinds = tuple(map(type, key))
        places = self._behind.setdefault(name, [])
        for one, answer in zip(wanted, row, strict=True):
            rows = self._rows.setdefault(one, {})
            if key not in rows:
                places.append((one, key))
            rows[key] = (kinds, answer)

    def forget(self, names: Sequence[bytes] | None) -> None:
        """Drop what the hashes of those names held; None: everything."""
        self.changes += 1
        if names is None:
            self._rows.clear()
            self._behind.clear()
        else:
            for name in names:
                self._drop(name)

    def _drop(self, name: bytes) -> None:
        for wanted, key in self._behind.pop(name, ()):
            self._rows[wanted].pop(key, None)


class RedisOnline:
    """The port `OnlineStore`."""

    def __init__(self, description: Description, address: RedisAddress) -> None:
        self.views = {view.name: view for view in description.views}
        self._description = description
        self._reads: dict[tuple[Wanted, ...], _Read] = {}
        self._memory = _Memory() if description.options.get("key_ttl_seconds") is None else None
        self._connection = RedisConnection(address, self._memory.forget if self._memory else lambda _: None)

    def at_hand(
        self, view: str, features: tuple[str, ...], keys: Sequence[tuple[object, ...]]
    ) -> list[OnlineAnswer | None] | None:
        """What was read before and is not written since, as the server says; None when it must be asked."""
        if self._memory is None or not self._connection.vouched:
            return None
        return self._memory.answers((view, features), keys)

    async def read(self, lookups: Sequence[Lookup]) -> list[list[OnlineAnswer | None]]:
        """One command an entity, all of them in one write. Raises `Unreachable`, `Misconfigured` and `NotFound`.

        Lookups of the same entities that follow each other share their commands.
        """
        asked = []
        for together in self._together(lookups):
            wanted = tuple((one.view, tuple(one.features)) for one in together)
            read = self._read(wanted)
            asked.append((wanted, together[0].keys, read, [read.command(*key) for key in together[0].keys]))
        commands = [command[1] for *_, here in asked for command in here if command is not None]
        memory = self._memory
        before = memory.changes if memory is not None else 0
        replies = iter(await self._connection.ask(b"".join(commands), len(commands)) if commands else ())
        hold = memory is not None and memory.changes == before and self._connection.tracked
        found: list[list[OnlineAnswer | None]] = []
        for wanted, keys, read, here in asked:
            nothing: list[OnlineAnswer | None] = [None] * len(wanted)
            rows = [nothing if command is None else read.answers(next(replies)) for command in here]
            if memory is not None and hold:
                for key, command, row in zip(keys, here, rows, strict=True):
                    if command is not None:
                        memory.hold(command[0], key, wanted, row)
            found += map(list, zip(*rows, strict=True)) if rows else [[] for _ in wanted]
        return found

    async def close(self) -> None:
        await self._connection.close()

    def _together(self, lookups: Sequence[Lookup]) -> list[list[Lookup]]:
        """Lookups in order, those of the same join keys and entities in one list. Raises `NotFound`."""
        found: list[list[Lookup]] = []
        before = None
        for lookup in lookups:
            names = self._view(lookup.view).keys
            if names == before and lookup.keys == found[-1][0].keys:
                found[-1].append(lookup)
            else:
                found.append([lookup])
            before = names
        return found

    def _view(self, name: str) -> View:
        return self.views.get(name) or self._description.view(name)  # which says what there is

    def _read(self, wanted: tuple[Wanted, ...]) -> _Read:
        found = self._reads.get(wanted)
        if found is None:
            views = [(self._view(name), features) for name, features in wanted]
            found = self._reads[wanted] = _Read(views, self._description.project)
        return found


def address_of(options: Mapping[str, Any]) -> RedisAddress | None:
    """The server that Feast's `connection_string` names; None when it takes more than this reader can.

    Clusters, sentinels and certificates of one's own are Feast's business.
    """
    nodes, parameters = [], {}
    for part in str(options.get("connection_string", "localhost:6379")).split(","):
        name, equals, value = part.partition("=")
        if equals:
            parameters[name] = _value(value)
        else:
            nodes.append(part)
    if options.get("redis_type", "redis") != "redis" or len(nodes) != 1 or not parameters.keys() <= _KNOWN:
        return None
    host, _, port = nodes[0].rpartition(":")
    if not host or not port.isdigit():
        return None
    password, username = parameters.get("password"), parameters.get("username")
    return RedisAddress(
        host=host,
        port=int(port),
        database=int(parameters.get("db", 0)),
        username=None if username is None else str(username),
        password=None if password is None else str(password),
        encrypted=bool(parameters.get("ssl", False)),
    )


def _value(text: str) -> Any:
    """As Feast reads it: JSON where it is JSON."""
    try:
        return json.loads(text)
    except ValueError:
        return text
