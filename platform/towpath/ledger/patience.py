"""PostgreSQL connections that notice when nobody is at the other end any more.

A connection that is cut says so. One whose packets are swallowed does not: the kernel would go on for a quarter of an
hour while data is under way, and for ever while an answer is awaited. Two bounds end that.

- `NOTICES`, for the kernel: it asks a silent peer whether it is there, and gives up data that nobody acknowledges.
- `ANSWER_SECONDS`, for us: a peer whose kernel acknowledges everything and that never answers, such as a stopped
  server or a proxy in front of a dead one, looks healthy to TCP.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final, TypeVar

import psycopg
from psycopg.abc import PQGen

_Result = TypeVar("_Result")

ANSWER_SECONDS: Final = 40.0
"""For any one answer, a statement of a migration among them: more than the 30 s after which the server itself refuses a
lock, less than a lease of 90 s."""
NOTICES: Final[Mapping[str, int]] = {
    "connect_timeout": 10,  # seconds, each address: the handshake with it
    "keepalives_idle": 10,  # seconds without a packet until the kernel asks; below the idle time of every firewall
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,  # milliseconds that data may stay unacknowledged
}
"""Parameters of libpq; https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS."""


class Patient(psycopg.Connection[Any]):
    """A connection that is closed, with an `OperationalError`, when one answer takes longer than `ANSWER_SECONDS`."""

    def wait(self, gen: PQGen[_Result], *arguments: Any, **named: Any) -> _Result:
        """Every exchange with the server passes here."""
        return super().wait(self._bounded(gen), *arguments, **named)

    def _bounded(self, exchange: PQGen[_Result]) -> PQGen[_Result]:
        """The exchange, looked at whenever its socket is ready or `wait` has seen nothing for a moment."""
        deadline = time.monotonic() + ANSWER_SECONDS
        try:
            wanted = next(exchange)
            while True:
                ready = yield wanted
                if not ready and time.monotonic() > deadline:
                    exchange.close()
                    self.close()  # what comes of the statement is not known: nobody may use the connection again
                    raise psycopg.OperationalError(f"no answer within {ANSWER_SECONDS:g} s")
                wanted = exchange.send(ready)
        except StopIteration as ended:
            result: _Result = ended.value
            return result
