"""Before anything is done: who asks, whether they ask too often, and whether what they send can be read at all.

Bare ASGI, around the pages. Gives each request an id and its answer the headers that keep browsers from guessing,
counts it, and writes a line of the log that holds no token, no query and no body.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import re
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, unquote
from uuid import uuid4

from anyio import to_thread
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from towpath.console.config import LOOPBACK, ServerConfig
from towpath.console.limits import Buckets, Rate, seconds
from towpath.console.metrics import Metrics
from towpath.console.problems import Refused, answer, defect
from towpath.core.errors import BadInput, TooManyRequests, TowpathError, Unauthenticated
from towpath.core.identity import Identity
from towpath.stages.access import Doors, identify
from towpath.verbs.desk import Office

API: Final = "/v1/"
ACTOR: Final = b"towpath-actor"
_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_SECRETS: Final = {"token", "access_token", "id_token", "authorization", "bearer", "api_key", "apikey", "password"}
_HEADERS: Final = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"strict-transport-security", b"max-age=31536000"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)
_access = logging.getLogger("towpath.console.access")
_log = logging.getLogger(__name__)


class Doorkeeper:
    """Lets requests in to `app`, with the identity in `scope["state"]`."""

    def __init__(self, app: ASGIApp, *, office: Office, config: ServerConfig, metrics: Metrics) -> None:
        self._app = app
        self._office = office
        self._config = config
        self._metrics = metrics
        self._known = Buckets(Rate(per_second=config.rate, burst=config.burst))
        self._unknown = Buckets(Rate(per_second=config.unknown_rate, burst=config.unknown_burst))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        request = _request_id(headers)
        scope["state"] = {**scope.get("state", {}), "request": request, "identity": None, "refused": None}
        told = _Told(scope, request, send)
        began = time.monotonic()
        self._metrics.begin()
        try:
            await self._admit(scope, headers, receive, told)
        except Refused as refused:
            await told.refuse(refused)
        except TowpathError as error:
            await told.refuse(Refused(error))
        except Exception:  # noqa: BLE001 - the edge: whatever it is, it becomes a problem
            _log.exception("request=%s", request)
            await told.refuse(defect(request))
        finally:
            self._metrics.end(told.operation, told.status, time.monotonic() - began)
            _write(scope, told, time.monotonic() - began)

    async def _admit(self, scope: Scope, headers: Mapping[bytes, bytes], receive: Receive, told: _Told) -> None:
        if not scope["path"].startswith(API):
            await self._app(scope, receive, told)
            return
        _require_no_secret(scope)
        scope["state"]["identity"] = await self._identify(scope, headers)
        if scope["method"] in ("POST", "PUT", "PATCH"):
            receive = await self._body(headers, receive)
        await self._app(scope, receive, told)

    async def _identify(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Identity:
        """Who asks. Spends a token of theirs, or of the address that says nothing which is believed."""
        address = _address(scope)
        try:
            token = _token(scope)
            if token is None and (wait := self._unknown.empty(address)):
                raise self._too_often(wait)
            identity = await to_thread.run_sync(self._known_by, scope, headers, token)
        except Unauthenticated:
            self._metrics.refused("unauthenticated")
            if wait := self._unknown.take(address):
                raise self._too_often(wait) from None
            raise
        if wait := self._known.take(identity.person):
            raise self._too_often(wait)
        return identity

    def _known_by(self, scope: Scope, headers: Mapping[bytes, bytes], token: str | None) -> Identity:
        office = self._office
        doors = Doors(tokens=office.tokens, provider=office.provider, server=not self._config.loopback)
        claim = unquote(_text(headers.get(ACTOR, b""))) or None
        if token is None and not doors.closed:
            _require_local(headers)
            claim = claim or (office.settings.actor if scope["method"] == "GET" else None)
        return identify(doors, token, claim=claim, now=office.clock())

    def _too_often(self, wait: float) -> Refused:
        self._metrics.refused("rate")
        error = TooManyRequests("Too many requests.", hint=f"Ask again in {seconds(wait)} s.")
        return Refused(error, headers={"retry-after": seconds(wait)})

    async def _body(self, headers: Mapping[bytes, bytes], receive: Receive) -> Receive:
        """The whole body, which is JSON and not too large, for the page to receive."""
        limit = self._config.body_bytes
        said = headers.get(b"content-length", b"0")
        if said.isdigit() and int(said) > limit:
            raise self._too_large(limit)
        try:
            async with asyncio.timeout(self._config.body_seconds):
                body = await self._received(receive, limit)
        except TimeoutError as error:
            raise Refused(BadInput("The request's body did not come to its end."), 408) from error
        kind = _text(headers.get(b"content-type", b"")).partition(";")[0].strip().lower()
        if body and kind != "application/json":
            raise Refused(
                BadInput(f"The content type {kind!r} is not read here.", value=kind, valid=["application/json"]), 415
            )
        return _again(body, receive)

    async def _received(self, receive: Receive, limit: int) -> bytes:
        parts, size = [], 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Refused(BadInput("The request's body did not come to its end."), 408)
            part = message.get("body", b"")
            size += len(part)
            if size > limit:
                raise self._too_large(limit)
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts)

    def _too_large(self, limit: int) -> Refused:
        self._metrics.refused("size")
        error = BadInput(f"The request's body is larger than {limit:,} bytes.", valid=[f"at most {limit:,} bytes"])
        return Refused(error, 413, headers={"connection": "close"})


class _Told:
    """Sends, and remembers what was sent."""

    def __init__(self, scope: Scope, request: str, send: Send) -> None:
        self._scope = scope
        self._send = send
        self.request = request
        self.status = 500
        self._begun = False

    @property
    def operation(self) -> str:
        """The page's name; never the path, which anybody can choose."""
        route = self._scope.get("route")
        return str(getattr(route, "name", "") or "none")

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self._begun = message["status"], True
            own = ((b"x-request-id", self.request.encode("ascii")), *_HEADERS)
            message = {**message, "headers": [*message.get("headers", ()), *own]}
        await self._send(message)

    async def refuse(self, refused: Refused) -> None:
        self._scope["state"]["refused"] = refused.error
        if self._begun:
            return
        status, headers, body = answer(refused, self.request)
        raw = [(name.encode("ascii"), value.encode("latin-1", "replace")) for name, value in headers.items()]
        raw.append((b"content-length", str(len(body)).encode("ascii")))
        await self({"type": "http.response.start", "status": status, "headers": raw})
        await self({"type": "http.response.body", "body": body})


def _token(scope: Scope) -> str | None:
    """The bearer's token. Raises `Unauthenticated` for anything else in the header, or for two of them."""
    found = [value for name, value in scope["headers"] if name == b"authorization"]
    if not found:
        return None
    scheme, _, token = _text(found[0]).partition(" ")
    if len(found) > 1 or scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated("The Authorization header holds no bearer token.", hint="Authorization: Bearer TOKEN")
    return token.strip()


def _require_no_secret(scope: Scope) -> None:
    """A token in the address is in the log of every proxy: it is not taken, and its owner should know."""
    named = {name.lower() for name, _ in parse_qsl(_text(scope["query_string"]), keep_blank_values=True)}
    if named & _SECRETS:
        raise Refused(
            BadInput(
                f"A token in the address ({', '.join(sorted(named & _SECRETS))}) is not taken.",
                hint="Send Authorization: Bearer TOKEN, and revoke this one: addresses are written to logs.",
            ),
            400,
        )


def _require_local(headers: Mapping[bytes, bytes]) -> None:
    """Where nobody is asked for proof, a page of the web must not reach this machine by a name of its own."""
    host = _text(headers.get(b"host", b""))
    name = host.rpartition(":")[0] if re.search(r":\d+$", host) else host
    if not any(hmac.compare_digest(name.strip("[]").encode(), one.encode()) for one in LOOPBACK):
        raise Unauthenticated(
            f"The installation is open, and answers nobody who calls it {name!r}.",
            valid=LOOPBACK,
            hint="Make the first token: towpath token create.",
        )


def _request_id(headers: Mapping[bytes, bytes]) -> str:
    given = _text(headers.get(b"x-request-id", b""))
    return given if _ID.fullmatch(given) else uuid4().hex


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else "unknown"


def _text(raw: bytes) -> str:
    return raw.decode("latin-1")


def _again(body: bytes, receive: Receive) -> Receive:
    given = False

    async def next_message() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return next_message


def _write(scope: Scope, told: _Told, took: float) -> None:
    """One line of JSON. Who asks is in it, with what, and why nobody was believed; never the token."""
    identity: Identity | None = scope["state"]["identity"]
    refused: TowpathError | None = scope["state"]["refused"]
    line: dict[str, Any] = {
        "request": told.request,
        "method": scope["method"],
        "operation": told.operation,
        "status": told.status,
        "ms": round(took * 1000, 1),
        "address": _address(scope),
        "person": identity.person if identity is not None else None,
        "via": identity.via if identity is not None else None,
        "refused": refused.code if refused is not None else None,
        # Of the others the text could repeat what was sent.
        "why": refused.message if isinstance(refused, Unauthenticated) else None,
    }
    _access.info("%s", json.dumps(line, ensure_ascii=True))
