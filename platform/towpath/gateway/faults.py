"""What a request can be refused for, and the HTTP status of each: the edge's part, which the errors know nothing of."""

from __future__ import annotations

from towpath.core.errors import BadInput, Denied, NotFound, TowpathError


class TooLarge(BadInput):
    """A body or a number of rows beyond the limit."""

    code = "too_large"


class WrongMethod(BadInput):
    """A page that is there, asked for with a method that it does not have."""

    code = "wrong_method"


class WrongMedia(BadInput):
    """A body of a content type that is not read here."""

    code = "wrong_media"


class Unknown(BadInput):
    """An entity that the feature store does not know, where the charter refuses such a request."""

    code = "unknown_entity"


class Unready(TowpathError):
    """No model may serve yet, or none can answer. Trying again may help."""

    code = "unready"
    temporary = True


_STATUS: tuple[tuple[type[TowpathError], int], ...] = (
    (TooLarge, 413),
    (WrongMethod, 405),
    (WrongMedia, 415),
    (Unknown, 422),
    (BadInput, 400),
    (NotFound, 404),
    (Denied, 409),
)


def status_of(error: TowpathError) -> int:
    """The HTTP status of a refusal; 503 for what is not the client's fault."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 503)
