"""Errors as RFC 9457 says: `application/problem+json`, with the code, value, valid values and hint that ours have."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from towpath.core.errors import (
    BadInput,
    Conflict,
    DeclarationError,
    Denied,
    Forbidden,
    IntegrityError,
    NotFound,
    OutOfOrder,
    Problems,
    TooManyRequests,
    TowpathError,
    Unauthenticated,
    Unreachable,
    Unwritable,
)

MEDIA_TYPE: Final = "application/problem+json"
REALM: Final = 'Bearer realm="towpath"'
_RETRY_SECONDS: Final = 1

STATUSES: Final[Mapping[type[TowpathError], int]] = {
    Unauthenticated: 401,
    Forbidden: 403,
    NotFound: 404,
    Denied: 409,
    Conflict: 409,
    OutOfOrder: 409,
    BadInput: 422,
    DeclarationError: 422,
    TooManyRequests: 429,
    Unreachable: 503,
    Unwritable: 503,
    TowpathError: 500,
}
"""The status of an error: that of its nearest class here."""
TITLES: Final[Mapping[int, str]] = {
    400: "The request cannot be read.",
    401: "It is not known who asks.",
    403: "Who asks may not do that.",
    404: "There is no such thing.",
    405: "The page has no such method.",
    408: "The request did not come to its end.",
    409: "The record does not allow it, or moved on meanwhile.",
    413: "The request is too large.",
    415: "The content type is not read here.",
    422: "The request is not as it should be.",
    429: "Asked too often.",
    500: "The server cannot do it.",
    503: "Something that it takes does not answer.",
}


class Problem(BaseModel):
    """An error. `temporary`: asking again can help, with the same Idempotency-Key."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="A relative reference to the code's paragraph in the documentation.")
    title: str
    status: int
    detail: str
    code: str
    value: str | None
    valid: list[str]
    hint: str
    temporary: bool
    request: str = Field(description="The request's id, as the log has it.")


class Refused(Exception):
    """A request that is answered with a status of its own choice."""

    def __init__(self, error: TowpathError, status: int | None = None, *, headers: Mapping[str, str] | None = None):
        super().__init__(error.message)
        self.error = error
        self.status = status if status is not None else status_of(error)
        self.headers = dict(headers or {})


def defect(request: str) -> Refused:
    """What nobody foresaw."""
    return Refused(TowpathError("The server has a defect; its log says more.", value=request), 500)


def status_of(error: TowpathError) -> int:
    """The status of an error."""
    return next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)


def document(error: TowpathError, status: int, request: str) -> dict[str, Any]:
    """The problem as JSON."""
    found: dict[str, Any] = {
        "type": f"errors.md#{error.code}",
        "title": TITLES.get(status, "It was not done."),
        "status": status,
        "detail": error.message,
        "code": error.code,
        "value": None if error.value is None else str(error.value),
        "valid": list(error.valid),
        "hint": error.hint,
        "temporary": error.temporary,
        "request": request,
    }
    if isinstance(error, IntegrityError):
        found["gate"] = error.gate
    if isinstance(error, Problems):
        found["problems"] = [document(one, status, request) for one in error.problems]
    return found


def answer(refused: Refused, request: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body."""
    headers = {"content-type": MEDIA_TYPE, **refused.headers}
    if refused.status == 401:
        headers["www-authenticate"] = f'{REALM}, error="invalid_token"'
    if refused.status in (429, 503) or refused.error.temporary:
        headers.setdefault("retry-after", str(_RETRY_SECONDS))
    body = json.dumps(document(refused.error, refused.status, request), ensure_ascii=False, default=str)
    return refused.status, headers, body.encode("utf-8", "replace")
