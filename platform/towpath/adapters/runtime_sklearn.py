"""scikit-learn in a process of its own: in the event loop, or in a thread beside it, it makes every timeout lie."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from towpath.adapters.runtime_sklearn_worker import LENGTH, Answer, Opening, framed
from towpath.core.errors import BadInput, Unreachable

KIND = "sklearn"
START_SECONDS = 120
_THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class SklearnRuntime:
    """The port `Runtime` on a saved model's folder.

    One request at a time is with the worker; others wait their turn. A caller that gives up (a timeout) does not
    disturb the exchange, which goes on behind it. A worker that died is started again by the next request.
    """

    kind = KIND
    inline = False

    def __init__(self, folder: Path, *, columns: Sequence[str], types: Mapping[str, str]) -> None:
        self.columns = tuple(columns)
        self._folder = folder
        self._opening = Opening(columns=list(columns), types={name: types[name] for name in columns})
        self._worker: _Worker | None = None
        self._turn: tuple[asyncio.AbstractEventLoop, asyncio.Lock] | None = None
        self._running: set[asyncio.Task[list[float]]] = set()
        self._started().greet()

    def _started(self) -> _Worker:
        if self._worker is None:
            self._worker = _Worker(self._folder, self._opening)
        return self._worker

    def predict(self, rows: Sequence[Sequence[object]]) -> list[float]:
        """Not to be called while a `predict_apart` is under way."""
        if not rows:
            return []
        try:
            worker = self._started()
            worker.greet()
            worker.send(framed(rows))
            return _chances(worker.answer())
        except Unreachable:
            self._drop()
            raise

    async def predict_apart(self, rows: Sequence[Sequence[object]]) -> list[float]:
        if not rows:
            return []
        task = asyncio.ensure_future(self._exchange(rows))
        self._running.add(task)
        task.add_done_callback(self._finished)
        return await asyncio.shield(task)

    def _finished(self, task: asyncio.Task[list[float]]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # seen, also when the caller gave up

    async def _exchange(self, rows: Sequence[Sequence[object]]) -> list[float]:
        loop = asyncio.get_running_loop()
        if self._turn is None or self._turn[0] is not loop:
            self._turn = (loop, asyncio.Lock())
        async with self._turn[1]:
            worker = self._started()
            try:
                if not worker.greeted:
                    _chances(await worker.answer_apart(loop))
                    worker.greeted = True
                await worker.send_apart(loop, framed(rows))
                return _chances(await worker.answer_apart(loop))
            except (Unreachable, asyncio.CancelledError):
                self._drop()
                raise

    def _drop(self) -> None:
        if self._worker is not None:
            self._worker.end()
            self._worker = None

    def close(self) -> None:
        for task in self._running:
            task.cancel()
        self._drop()


class _Worker:
    """The process, and our end of its streams."""

    def __init__(self, folder: Path, opening: Opening) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(  # noqa: S603 - our own module
                [sys.executable, "-m", "towpath.adapters.runtime_sklearn_worker", str(folder)],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                env={**os.environ, **_THREADS},
            )
        self.greeted = False
        self._socket = ours
        self._buffer = bytearray()
        self.send(framed(opening))

    def greet(self) -> None:
        """Wait until the model is loaded."""
        if not self.greeted:
            _chances(self.answer())
            self.greeted = True

    def send(self, message: bytes) -> None:
        self._socket.settimeout(START_SECONDS)
        try:
            self._socket.sendall(message)
        except OSError as error:
            raise _gone(error) from error

    def answer(self) -> Answer:
        self._socket.settimeout(START_SECONDS)
        while (found := self._whole()) is None:
            try:
                self._take(self._socket.recv(1 << 16))
            except OSError as error:
                raise _gone(error) from error
        return found

    async def send_apart(self, loop: asyncio.AbstractEventLoop, message: bytes) -> None:
        self._socket.setblocking(False)
        try:
            await loop.sock_sendall(self._socket, message)
        except OSError as error:
            raise _gone(error) from error

    async def answer_apart(self, loop: asyncio.AbstractEventLoop) -> Answer:
        self._socket.setblocking(False)
        while (found := self._whole()) is None:
            try:
                self._take(await loop.sock_recv(self._socket, 1 << 16))
            except OSError as error:
                raise _gone(error) from error
        return found

    def _take(self, part: bytes) -> None:
        if not part:
            raise _gone("it ended")
        self._buffer += part

    def _whole(self) -> Answer | None:
        """The next answer, once all of it has come."""
        if len(self._buffer) < LENGTH.size:
            return None
        end = LENGTH.size + LENGTH.unpack_from(self._buffer)[0]
        if len(self._buffer) < end:
            return None
        content = bytes(self._buffer[LENGTH.size : end])
        del self._buffer[:end]
        return msgspec.msgpack.decode(content, type=Answer)

    def end(self) -> None:
        self._socket.close()
        self.process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=10)


def _chances(answer: Answer) -> list[float]:
    if answer.chances is not None:
        return answer.chances
    raise BadInput(answer.fault or "The model gives no answer.", hint="Send values as in training.")


def _gone(why: object) -> Unreachable:
    return Unreachable(f"The model's process does not answer: {why}.", hint="The next request starts it again.")
