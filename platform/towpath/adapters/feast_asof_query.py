"""One DuckDB statement of the point-in-time store: what it may use, how it runs, and its faults as errors of ours."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import duckdb
import pyarrow as pa

from towpath.core.errors import BadInput, Misconfigured

_BATCH_ROWS = 65_536


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What DuckDB may use: memory, beyond which it spills to disk, and threads. None is its own default."""

    memory: str | None = None
    threads: int | None = None


@dataclass(frozen=True, kw_only=True)
class Query:
    """One statement, the Arrow tables it names, and the means it may use."""

    text: str
    limits: Limits
    relations: Mapping[str, pa.Table] = field(default_factory=dict)

    def run(self, timeout: float | None = None) -> pa.Table:
        """The result. `timeout` in seconds; raises `TimeoutError`, `BadInput` or `Misconfigured` (memory)."""
        with self._connected(timeout) as connection:
            return connection.sql(self.text).to_arrow_table()

    @contextmanager
    def opened(self, timeout: float | None = None) -> Iterator[pa.RecordBatchReader]:
        """The result batch by batch, which need not fit into memory; raises as `run` does."""
        with self._connected(timeout) as connection:
            yield connection.sql(self.text).to_arrow_reader(_BATCH_ROWS)

    @contextmanager
    def _connected(self, timeout: float | None) -> Iterator[duckdb.DuckDBPyConnection]:
        settings: dict[str, str | int] = {"TimeZone": "UTC", "autoinstall_known_extensions": "false"}
        settings |= {"memory_limit": self.limits.memory} if self.limits.memory else {}
        settings |= {"threads": self.limits.threads} if self.limits.threads else {}
        with tempfile.TemporaryDirectory(prefix="towpath-asof-") as spill:
            connection = duckdb.connect(":memory:", config=settings | {"temp_directory": spill})
            try:
                for name, table in self.relations.items():
                    connection.register(name, table)
                with _explained(timeout, self.limits.memory), _stopped_after(timeout, connection):
                    yield connection
            finally:
                connection.close()


@contextmanager
def _stopped_after(timeout: float | None, connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Interrupts the connection from `timeout` seconds on, again and again: between statements one is lost."""
    if timeout is None:
        yield
        return
    done = threading.Event()

    def watch() -> None:
        wait = timeout
        while not done.wait(wait):
            connection.interrupt()
            wait = 0.01

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    try:
        yield
    finally:
        done.set()
        watching.join()


@contextmanager
def _explained(timeout: float | None, memory_limit: str | None) -> Iterator[None]:
    try:
        yield
    except duckdb.InterruptException as error:
        raise _too_long(timeout) from error
    except duckdb.OutOfMemoryException as error:
        raise _too_large(memory_limit, error) from error
    except (pa.ArrowException, OSError) as error:  # of a batch: Arrow's interface keeps the text of the error alone
        if "INTERRUPT" in str(error):
            raise _too_long(timeout) from error
        if "Out of Memory Error" in str(error):
            raise _too_large(memory_limit, error) from error
        raise
    except (duckdb.DataError, duckdb.OperationalError, duckdb.BinderException, duckdb.InvalidInputException) as error:
        raise BadInput(f"The sources cannot be read as declared: {error}") from error


def _too_long(timeout: float | None) -> TimeoutError:
    return TimeoutError(f"The features were not joined within {timeout} seconds.")


def _too_large(memory_limit: str | None, error: Exception) -> Misconfigured:
    return Misconfigured(
        f"The join does not fit into memory_limit: {memory_limit}. {error}",
        value=memory_limit,
        hint="Raise memory_limit in the offline_store section, or join fewer entity rows at a time.",
    )
