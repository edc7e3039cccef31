"""A connection that can be cut: it stands between a client and its server, in threads of the test's own process."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Relay:
    """Forwards a port of its own to a server's. `cut` ends every connection and takes no other; `stall` is silence."""

    def __init__(self, server: int) -> None:
        self._server = server
        self._flows = threading.Event()
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listening = self._bound(0)
        self.port: int = self._listening.getsockname()[1]

    def cut(self) -> None:
        self._flows.clear()
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        with self._lock:
            for one in self._open:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
            self._open.clear()

    def mend(self) -> None:
        self._listening = self._bound(self.port)

    def stall(self) -> None:
        self._flows.clear()

    def flow(self) -> None:
        self._flows.set()

    def _bound(self, port: int) -> socket.socket:
        found = socket.create_server(("127.0.0.1", port))
        self._flows.set()
        threading.Thread(target=self._accept, args=(found,), daemon=True).start()
        return found

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                client, _ = listening.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._server))
            except OSError:
                client.close()
                continue
            with self._lock:
                self._open |= {client, server}
            for pair in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError), source:
            while data := source.recv(1 << 16):
                self._flows.wait()
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)


@contextmanager
def relayed(server: int) -> Iterator[Relay]:
    relay = Relay(server)
    try:
        yield relay
    finally:
        with suppress(OSError):
            relay.cut()
        relay.flow()  # who waits may go
