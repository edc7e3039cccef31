"""What goes out at the end of a turn of the event loop: the log's lines in one write, then each reply in one write.

uvicorn hands head and body to the transport apart, and uvloop makes a system call of each, as the log would of each
line. uvicorn also looks at every header by regular expressions, which costs as much as all else it does with a reply;
so replies that are there as a whole go by a way of their own. Collected, the lines of all who are answered in one turn
are with the kernel before the first of their replies is, so that being killed in between loses no answer's line.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from towpath.gateway.replies import WHOLE, Header


class Outbox:
    """Lines and replies of this turn. `append` hands lines to the kernel. Only for the thread of its event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, append: Callable[..., object]) -> None:
        self._loop = loop
        self._append = append
        self._lines: list[bytes] = []
        self._replies: list[Collecting] = []
        self._due = False

    def log(self, line: bytes) -> None:
        self._lines.append(line)
        self._flush_soon()

    def reply(self, transport: Collecting) -> None:
        """The transport has something to write."""
        self._replies.append(transport)
        self._flush_soon()

    def flush(self) -> None:
        self._due = False
        if self._lines:
            lines, self._lines = self._lines, []
            self._append(*lines)
        if self._replies:
            replies, self._replies = self._replies, []
            for transport in replies:
                transport.flush()

    def protocol(self) -> type[HttpToolsProtocol]:
        """uvicorn's HTTP/1.1, writing through this."""
        outbox = self

        class Protocol(HttpToolsProtocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                super().connection_made(Collecting(cast("asyncio.Transport", transport), outbox))

            def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
                cycle.scope["extensions"] = {WHOLE: partial(_reply_whole, cycle)}  # type: ignore[dict-item]
                super()._start_asgi_task(cycle, app)

        return Protocol

    def _flush_soon(self) -> None:
        if not self._due:
            self._due = True
            self._loop.call_soon(self.flush)


class Collecting(asyncio.Transport):
    """A transport that writes once a turn what it was given in it."""

    def __init__(self, transport: asyncio.Transport, outbox: Outbox) -> None:
        super().__init__()
        self._transport = transport
        self._outbox = outbox
        self._parts: list[bytes] = []
        self.is_closing = transport.is_closing  # type: ignore[method-assign]
        self.pause_reading = transport.pause_reading  # type: ignore[method-assign]
        self.resume_reading = transport.resume_reading  # type: ignore[method-assign]

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        if not self._parts:
            self._outbox.reply(self)
        self._parts.append(bytes(data))

    def flush(self) -> None:
        parts, self._parts = self._parts, []
        if parts and not self._transport.is_closing():
            self._transport.write(b"".join(parts))

    def close(self) -> None:
        if self._parts:
            self._outbox.flush()
        self._transport.close()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._transport.get_extra_info(name, default)


def _reply_whole(cycle: RequestResponseCycle, status: int, headers: Sequence[Header], body: bytes) -> bool:
    """What uvicorn's `send` does with a reply of known length, at once. False leaves it to that."""
    head = b"".join([b"%b: %b\r\n" % header for header in (*cycle.default_headers, *headers)])
    plain = head.count(b"\n") == head.count(b"\r") == len(cycle.default_headers) + len(headers)
    if not plain or cycle.flow.write_paused or cycle.response_started or cycle.scope["method"] == "HEAD":
        return False
    if cycle.disconnected:
        return True
    closing = b"" if cycle.keep_alive else b"connection: close\r\n"
    cycle.waiting_for_100_continue = False
    cycle.transport.write(b"".join((STATUS_LINE[status], head, closing, b"\r\n", body)))
    cycle.response_started = cycle.response_complete = True
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()
    return True
