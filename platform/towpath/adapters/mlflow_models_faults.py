"""MLflow's faults, and those of the database or server behind it, as errors of ours. No message holds a password."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from towpath.core.errors import Misconfigured, NotFound, TowpathError, Unreachable, Unwritable

_START = "Start it (`towpath up`) or mend TOWPATH_MLFLOW."
_SAME = "Check that TOWPATH_MLFLOW names the server that the run was tracked on, and what was deleted there."
_PROBE_SECONDS = 10


def shown(uri: str) -> str:
    """The address without its password."""
    parts = urlsplit(uri)
    if parts.password is None:
        return uri
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username or ''}:***@{host}"))


def reach(uri: str) -> None:
    """See that the server or database answers at all: MLflow itself would try for minutes. Raises as `faults`."""
    with faults(uri):
        if uri.startswith(("http://", "https://")):
            from mlflow.utils.credentials import get_default_host_creds
            from mlflow.utils.rest_utils import http_request

            creds = get_default_host_creds(uri)
            http_request(creds, "/health", "GET", max_retries=0, timeout=_PROBE_SECONDS, raise_on_status=False)
        else:
            _reach_database(uri)


def _reach_database(uri: str) -> None:
    from sqlalchemy import create_engine, inspect
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError
    from sqlalchemy.pool import NullPool

    try:
        url = make_url(uri)
        engine = create_engine(url, poolclass=NullPool)
    except (ArgumentError, NoSuchModuleError, ImportError) as error:
        raise Misconfigured(
            f"TOWPATH_MLFLOW is no address that MLflow understands: {shown(uri)}.",
            value=shown(uri),
            valid=["http://…", "https://…", "sqlite:///file", "postgresql://…"],
        ) from error
    if url.get_backend_name() == "sqlite" and url.database:
        try:
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unwritable(uri, str(error)) from error
    inspect(engine).get_table_names()


@contextmanager
def faults(uri: str) -> Iterator[None]:
    """Raises `Unreachable`, `Unwritable`, `Misconfigured` or `NotFound` for what MLflow and its stores raise."""
    import requests
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import DatabaseError, OperationalError

    try:
        yield
    except (requests.ConnectionError, requests.Timeout) as error:
        raise _unreachable(uri, type(error).__name__) from error
    except OperationalError as error:
        if urlsplit(uri).scheme == "sqlite" and any(
            text in str(error.orig) for text in ("unable to open", "readonly", "full")
        ):
            raise _unwritable(uri, str(error.orig)) from error
        raise _unreachable(uri, type(error).__name__) from error
    except DatabaseError as error:
        raise Misconfigured(
            f"MLflow's database {shown(uri)} cannot be used: {error.orig}.",
            value=shown(uri),
            hint="Mend TOWPATH_MLFLOW.",
        ) from error
    except MlflowException as error:
        raise _explained(uri, error.error_code, error.message) from error
    except PermissionError as error:
        raise _unwritable(uri, str(error)) from error


def _explained(uri: str, code: str, message: str) -> TowpathError:
    if code == "TEMPORARILY_UNAVAILABLE" or "Max retries exceeded" in message or "Connection refused" in message:
        return _unreachable(uri, code)
    if code in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
        return Misconfigured(
            f"MLflow at {shown(uri)} refuses us: {message}", value=shown(uri), hint="Check its credentials."
        )
    if code == "RESOURCE_DOES_NOT_EXIST":
        return NotFound(f"MLflow at {shown(uri)}: {message}", value=shown(uri), hint=_SAME)
    return Misconfigured(
        f"MLflow at {shown(uri)} does not do as asked ({code}): {message}", value=shown(uri), hint=_SAME
    )


def _unreachable(uri: str, what: str) -> Unreachable:
    return Unreachable(f"MLflow at {shown(uri)} does not answer: {what}.", value=shown(uri), hint=_START)


def _unwritable(uri: str, what: str) -> Unwritable:
    return Unwritable(
        f"MLflow at {shown(uri)} cannot write: {what}.",
        value=shown(uri),
        hint="Check the disk, and who may write there.",
    )
