"""The server that TOWPATH_SERVER names: requests to it, and its problems as the errors that a command would raise here.

A request that changes something bears an Idempotency-Key, so that it may be sent again when no answer came.
"""

from __future__ import annotations

import http.client
import json
import math
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import SplitResult, quote, urlencode, urlsplit
from uuid import uuid4

from towpath import __version__
from towpath.core import errors
from towpath.core.errors import (
    BadInput,
    IntegrityError,
    Misconfigured,
    Problems,
    TowpathError,
    Unauthenticated,
    Unreachable,
)

if TYPE_CHECKING:
    from towpath.settings import Settings
    from towpath.verbs.verb import Document, Request, Verb

    Asked = TypeVar("Asked", bound=Request)
    Answered = TypeVar("Answered", bound=Document)

LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
_ATTEMPTS: Final = 4
_PAUSE_SECONDS: Final = 0.5
_LONGEST_PAUSE_SECONDS: Final = 10.0
_TIMEOUT_SECONDS: Final = 300.0
_MOST_BYTES: Final = 256 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class _Reply:
    status: int
    body: bytes
    retry_after: float | None


def ask(settings: Settings, verb: Verb[Asked, Answered], asked: Asked, *, by: str | None) -> Answered:
    """The server's document. Raises the error that the server answers, `Unreachable` and `Misconfigured`."""
    place = _place(str(settings.server))
    method, path, body = _request(verb, asked)
    headers = _headers(settings, by)
    if verb.changes:
        headers |= {"Idempotency-Key": uuid4().hex, "Content-Type": "application/json"}
    failed: TowpathError | None = None
    for pause in _pauses():
        time.sleep(max(pause, 0.0))
        try:
            reply = _send(place, method, path, body, headers)
        except Unreachable as error:
            failed = error
            continue
        if reply.status == 200:
            return verb.answer.model_validate_json(reply.body)
        failed = _error(reply, place)
        if not failed.temporary:
            raise failed
        time.sleep(min(reply.retry_after or 0.0, _LONGEST_PAUSE_SECONDS))
    assert failed is not None
    raise failed


def _pauses() -> Iterator[float]:
    yield 0.0
    for attempt in range(_ATTEMPTS - 1):
        yield _PAUSE_SECONDS * math.pow(2, attempt)


def _place(url: str) -> SplitResult:
    """The server's address. Raises `Misconfigured` for one that would send a token over an open line."""
    parts = urlsplit(url.rstrip("/"))
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise Misconfigured("TOWPATH_SERVER is no address of a server.", value=url, valid=["https://HOST[:PORT]"])
    if parts.username is not None or parts.query or parts.fragment:
        raise Misconfigured(
            "TOWPATH_SERVER holds more than an address.",
            value=parts.hostname,
            hint="The token goes into TOWPATH_TOKEN, where no log shows it.",
        )
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise Misconfigured(
            f"TOWPATH_SERVER is {url}: without https everybody on the way reads your token, and answers as they like.",
            value=url,
            valid=[f"https://{parts.hostname}", *(f"http://{name}" for name in LOOPBACK)],
            hint="Serve it over https (an ingress, or towpath server --tls-certificate), or reach it by a tunnel to "
            "this machine.",
        )
    return parts


def _request(verb: Verb[Asked, Answered], asked: Asked) -> tuple[str, str, bytes | None]:
    said: dict[str, Any] = asked.model_dump(mode="json", exclude_none=True)
    path = verb.path
    for name in verb.places:
        if name not in said:
            raise BadInput(f"The server is asked of one {name} at a time.", hint=f"Name the {name}.")
        path = path.replace(f"{{{name}}}", quote(str(said.pop(name)), safe=""))
    if verb.changes:
        return "POST", path, json.dumps(said, ensure_ascii=False).encode("utf-8")
    return "GET", path + (f"?{urlencode(said)}" if said else ""), None


def _headers(settings: Settings, by: str | None) -> dict[str, str]:
    from towpath.cli import options

    headers = {"Accept": "application/json", "User-Agent": f"towpath/{__version__}"}
    if settings.token is not None:
        headers["Authorization"] = f"Bearer {settings.token}"
    said = (by or "").strip() or (options.actor() if settings.token is None else None)
    if said:
        headers["Towpath-Actor"] = quote(said, safe=" ")
    return headers


def _send(place: SplitResult, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> _Reply:
    """One request and its answer. Raises `Unreachable`, and `Misconfigured` for a certificate that does not hold."""
    host = str(place.hostname)
    if place.scheme == "https":
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            host, place.port, timeout=_TIMEOUT_SECONDS, context=ssl.create_default_context()
        )
    else:
        connection = http.client.HTTPConnection(host, place.port, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request(method, place.path + path, body=body, headers=dict(headers))
        answer = connection.getresponse()
        retry = answer.getheader("Retry-After", "")
        return _Reply(
            status=answer.status,
            body=answer.read(_MOST_BYTES),
            retry_after=float(retry) if retry.isdigit() else None,
        )
    except ssl.SSLCertVerificationError as error:
        raise Misconfigured(
            f"The certificate of {host} does not hold: {error.verify_message}.",
            value=host,
            hint="Where it is signed by an authority of your own, name its file in SSL_CERT_FILE.",
        ) from error
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable(
            f"The server {place.geturl()} does not answer: {str(error) or type(error).__name__}.",
            value=place.geturl(),
            hint="Look whether it runs: towpath server. Without TOWPATH_SERVER commands work on the files here.",
        ) from error
    finally:
        connection.close()


def _error(reply: _Reply, place: SplitResult) -> TowpathError:
    """What the server answers, as the class that would have been raised here."""
    try:
        said = json.loads(reply.body)
        return _problem(said)
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    if reply.status >= 500:
        return Unreachable(f"The server {place.geturl()} answers {reply.status}.", value=reply.status)
    return Misconfigured(
        f"{place.geturl()} answers {reply.status}, and not as a Towpath API does.",
        value=reply.status,
        hint="Look at TOWPATH_SERVER.",
    )


def _problem(said: Mapping[str, Any]) -> TowpathError:
    code, detail = str(said["code"]), str(said["detail"])
    if "problems" in said:
        return Problems([_problem(one) for one in said["problems"]])
    given: dict[str, Any] = {"value": said["value"], "valid": said["valid"], "hint": said["hint"]}
    if code == IntegrityError.code:
        return IntegrityError(detail, gate=str(said.get("gate", "integrity.data")), **given)
    if code == Unauthenticated.code and not given["hint"]:
        given["hint"] = "Set TOWPATH_TOKEN to your token."
    return _classes().get(code, TowpathError)(detail, **given)


def _classes() -> dict[str, type[TowpathError]]:
    found = (item for item in vars(errors).values() if isinstance(item, type) and issubclass(item, TowpathError))
    return {kind.code: kind for kind in found if kind not in (Problems, IntegrityError)}
