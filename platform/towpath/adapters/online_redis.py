"""Feast's Redis online store, read directly: a hash per entity, with a field a feature and a time a view.

The hash's key is the encoded entity key and the project; a field is the murmur3 hash of `view:feature`, the time's is
`_ts:view`. https://github.com/feast-dev/feast/blob/master/docs/specs/online_store_format.md
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import mmh3

from towpath.adapters.online_codec import KeyEncoder, decode_time, row_decoder
from towpath.adapters.online_description import Description, View
from towpath.adapters.online_redis_connection import RedisAddress, RedisConnection, bulk
from towpath.ports import Lookup, OnlineAnswer

_KNOWN = frozenset({"db", "ssl", "password", "username", "socket_timeout", "socket_connect_timeout"})


class _Read:
    """Reading some features of one view: all of the command but the key, and how to decode the reply."""

    def __init__(self, view: View, features: Sequence[str], project: str) -> None:
        fields = [mmh3.hash(f"{view.table}:{name}", signed=False).to_bytes(4, "little") for name in features]
        self._head = b"*%d\r\n$5\r\nHMGET\r\n" % (len(fields) + 3)
        self._tail = b"".join(map(bulk, (*fields, f"_ts:{view.table}".encode())))
        self._project = project.encode()
        self._names = tuple(features)
        self._decode = row_decoder(view, features)

    def command(self, key: bytes) -> bytes:
        return self._head + bulk(key + self._project) + self._tail

    def answer(self, reply: Sequence[bytes | None]) -> OnlineAnswer | None:
        found, at = reply[:-1], reply[-1]
        if at is None and not any(found):
            return None
        values = dict(zip(self._names, self._decode(found), strict=True))
        return OnlineAnswer(values=values, at=decode_time(at))


class RedisOnline:
    """The port `OnlineStore`."""

    def __init__(self, description: Description, address: RedisAddress) -> None:
        self.views = {view.name: view for view in description.views}
        self._description = description
        self._keys = {view.name: KeyEncoder(view) for view in description.views}
        self._reads: dict[tuple[str, tuple[str, ...]], _Read] = {}
        self._connection = RedisConnection(address)

    async def read(self, lookups: Sequence[Lookup]) -> list[list[OnlineAnswer | None]]:
        """One command a key, all of them in one write. Raises `Unreachable`, `Misconfigured` and `NotFound`."""
        asked, commands = [], []
        for lookup in lookups:
            read = self._read(lookup.view, tuple(lookup.features))
            keys = list(map(self._keys[lookup.view], lookup.keys))
            asked.append((read, keys))
            commands += [read.command(key) for key in keys if key is not None]
        replies = iter(await self._connection.ask(b"".join(commands), len(commands)) if commands else ())
        return [[None if key is None else read.answer(next(replies)) for key in keys] for read, keys in asked]

    async def close(self) -> None:
        await self._connection.close()

    def _read(self, view: str, features: tuple[str, ...]) -> _Read:
        found = self._reads.get((view, features))
        if found is None:
            found = _Read(self._description.view(view), features, self._description.project)
            self._reads[view, features] = found
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
