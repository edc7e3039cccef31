"""What can go wrong. One root class; the edge (CLI, API) maps classes to exit codes, never the other way round.

A refusal by a gate is data (a `Finding`), not an exception. Exceptions are for the world and for misuse; `temporary`
says whether trying again later can help, and is the only thing that retries look at.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar


class TowpathError(Exception):
    """An error with a code, the offending value, the valid values and a hint that says what to do next."""

    code: ClassVar[str] = "towpath"
    temporary: ClassVar[bool] = False

    def __init__(self, message: str, *, value: object = None, valid: Iterable[object] = (), hint: str = "") -> None:
        self.message = message
        self.value = value
        self.valid = tuple(str(item) for item in valid)
        self.hint = hint
        super().__init__(str(self))

    def __str__(self) -> str:
        parts = [self.message]
        if self.valid:
            parts.append(f"Valid: {', '.join(self.valid)}.")
        if self.hint:
            parts.append(self.hint)
        return " ".join(parts)

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (
            type(self),
            self.message,
            None if self.value is None else str(self.value),
            self.valid,
            self.hint,
        )


def _rebuild(kind: type[TowpathError], message: str, value: object, valid: Sequence[str], hint: str) -> TowpathError:
    return kind(message, value=value, valid=valid, hint=hint)


class DeclarationError(TowpathError):
    """A charter, contract, feature definition or setting says something that cannot be meant."""

    code = "declaration"


class Problems(DeclarationError):
    """Several declaration errors at once, so that a person mends them in one go."""

    code = "declarations"

    def __init__(self, problems: Sequence[TowpathError]) -> None:
        self.problems = tuple(problems)
        lines = "\n".join(f"  - {problem}" for problem in problems)
        super().__init__(f"{len(problems)} problems:\n{lines}")

    def __reduce__(self) -> tuple[object, ...]:
        return Problems, (self.problems,)


class NotFound(TowpathError):
    """A thing that was named does not exist."""

    code = "not_found"


class BadInput(TowpathError):
    """Data or an argument that cannot be worked with: missing file, wrong type, empty table, one class only."""

    code = "bad_input"


class OutOfOrder(TowpathError):
    """A stage was asked for before the one it stands on, after a refusal, or twice with other inputs."""

    code = "out_of_order"


class Denied(TowpathError):
    """An act that the record does not allow: promoting what was refused, or without a reason."""

    code = "denied"


class Forbidden(Denied):
    """An act that the actor's roles do not allow."""

    code = "forbidden"


class Unauthenticated(TowpathError):
    """It is not known who acts: no credential, or one that is expired, revoked, forged or meant for another service."""

    code = "unauthenticated"


class Conflict(TowpathError):
    """The record moved on between reading and writing. Looking again and deciding again may help."""

    code = "conflict"
    temporary = True


class TooManyRequests(TowpathError):
    """Somebody asked the API more often than it answers them. Asking again later helps."""

    code = "too_many_requests"
    temporary = True


class IntegrityError(TowpathError):
    """Stored bytes are not the bytes that were recorded. `gate` is the code of the incident to write down."""

    code = "integrity"

    def __init__(
        self,
        message: str,
        *,
        gate: str = "integrity.data",
        value: object = None,
        valid: Iterable[object] = (),
        hint: str = "",
    ) -> None:
        self.gate = gate
        super().__init__(message, value=value, valid=valid, hint=hint)

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild_integrity, (self.message, self.gate, None if self.value is None else str(self.value), self.hint)


def _rebuild_integrity(message: str, gate: str, value: object, hint: str) -> IntegrityError:
    return IntegrityError(message, gate=gate, value=value, hint=hint)


class Unreachable(TowpathError):
    """A service does not answer (network, database, object store). Trying again may help."""

    code = "unreachable"
    temporary = True


class Unwritable(TowpathError):
    """The state folder or a target cannot be written (permissions, disk full)."""

    code = "unwritable"


class Misconfigured(TowpathError):
    """A service answers but refuses what was configured: credentials, bucket, version."""

    code = "misconfigured"
