"""Bodies in, replies out: the little of HTTP that ASGI leaves to us."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

import msgspec

from towpath.core.errors import BadInput, TowpathError
from towpath.gateway.faults import TooLarge, WrongMedia, status_of

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Header = tuple[bytes, bytes]

MOST_BYTES = 16 << 20
WHOLE = "towpath.whole"
"""The extension of ASGI that takes status, headers and body at once, and says whether it did."""
JSON = (b"content-type", b"application/json")
TEXT = (b"content-type", b"text/plain; charset=utf-8")
encode = msgspec.json.Encoder().encode


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """Status, body and headers; the length is added when it is sent."""

    body: bytes
    status: int = 200
    headers: tuple[Header, ...] = (JSON,)


def json_reply(value: object, *, status: int = 200, headers: tuple[Header, ...] = ()) -> Reply:
    return Reply(body=encode(value), status=status, headers=(JSON, *headers))


def text_reply(text: str, *, status: int = 200) -> Reply:
    return Reply(body=text.encode(), status=status, headers=(TEXT,))


def refusal(error: TowpathError, *, headers: tuple[Header, ...] = (), mlflow: bool = False) -> Reply:
    """An error as the protocols say it: `{"error": …}`, and MLflow's own two fields where its clients look for them."""
    status = status_of(error)
    body: dict[str, object] = {"error": str(error)}
    if mlflow:
        body |= {"error_code": "BAD_REQUEST" if status < 500 else "TEMPORARILY_UNAVAILABLE", "message": str(error)}
    if status == 503:
        headers = (*headers, (b"retry-after", b"1"))
    if status == 405:
        headers = (*headers, (b"allow", ", ".join(error.valid).encode()))
    return json_reply(body, status=status, headers=headers)


async def send_reply(scope: Scope, send: Send, reply: Reply) -> None:
    """Send a reply: in one piece where the server knows how to, else in the two that ASGI has."""
    headers = [*reply.headers, (b"content-length", b"%d" % len(reply.body))]
    whole = scope.get("extensions", {}).get(WHOLE)
    if whole is not None and whole(reply.status, headers, reply.body):
        return
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


async def read_body(headers: Mapping[bytes, bytes], receive: Receive) -> bytes | None:
    """The whole body; None when the client went away. Raises `TooLarge` and `WrongMedia`."""
    encoding = headers.get(b"content-encoding", b"identity")
    if encoding != b"identity":
        raise WrongMedia(
            f"The content encoding {encoding[:40]!r} is not read here.", value=str(encoding[:40]), valid=["identity"]
        )
    if b"inference-header-content-length" in headers:
        raise BadInput("The binary tensor extension is not spoken here.", valid=["JSON tensors"])
    length = headers.get(b"content-length")
    if length is not None and length.isdigit() and int(length) > MOST_BYTES:
        raise _too_large(int(length))
    message = await receive()
    if message["type"] == "http.disconnect":
        return None
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False):
        return body
    parts, size = [body], len(body)
    while message.get("more_body", False):
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MOST_BYTES:
            raise _too_large(size)
    return b"".join(parts)


def _too_large(size: int) -> TooLarge:
    return TooLarge(f"The body has {size:,} bytes or more.", value=size, valid=[f"up to {MOST_BYTES:,} bytes"])
