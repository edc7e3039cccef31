"""The chain, without a database: what a record's hash covers, and what a row must be.

A record's hash is the SHA-256 of the canonical JSON (RFC 8785) of every other field but the signature, among them the
hash of the record before. So whoever changes, removes, inserts or swaps records without recomputing every later hash is
found, and the place named. Whoever recomputes them lacks the key that signs them (`signing`). One thing no chain can
show by itself: that records were cut off its end. It is found by comparing with a checkpoint that was kept elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import ValidationError

from towpath.core import digest as digests
from towpath.core.errors import BadInput, IntegrityError
from towpath.core.evidence import Entry, Record, RecordKind
from towpath.ledger.canonical import canonical, parse, parse_canonical, plain, stamp
from towpath.ports import Draft

GATE = "integrity.ledger"
UNREADABLE = (
    ValueError,
    TypeError,
    RecursionError,
    BadInput,
)  # pydantic's and RFC 8785's errors are ValueErrors


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A record as it lies in a table or a file: every field in the very characters that were hashed.

    `at` is ISO-8601 in UTC with microseconds and `Z`; `body` is canonical JSON.
    """

    sequence: int
    previous: str | None
    hash: str
    kind: str
    project: str
    candidate: str
    stage: str
    key: str | None
    digest: str
    at: str
    actor: str
    body: str
    via: str | None = None
    signer: str | None = None
    signature: str | None = None


FIELDS: tuple[str, ...] = tuple(item.name for item in fields(Stored))
OPTIONAL: Final = ("via", "signer", "signature")
"""Fields that records of before do not have; where they are not set, a record is hashed and exported without them."""


_UNHASHED: Final = ("hash", "signature")


def body_digest(kind: RecordKind, body: Any) -> str:
    """What a record's `digest` must be: that of the entry for an entry, else that of the body."""
    return Entry.model_validate(body).digest if kind is RecordKind.ENTRY else digests.of_json(body)


def seal(
    draft: Draft,
    *,
    previous: str | None,
    sequence: int,
    at: datetime,
    actor: str,
    via: str | None = None,
    signer: str | None = None,
) -> Record:
    """The record that a draft becomes at its place in the chain, not signed yet.

    Raises `BadInput` for text that no database takes, an empty actor, a body that is not JSON, or a digest that is not
    the body's: such a record would fail its first verification.
    """
    check(draft, actor)
    body = parse(canonical(dict(draft.body)))
    try:
        expected = body_digest(draft.kind, body)
    except ValidationError as error:
        raise BadInput(f"A draft of kind {draft.kind.value} has a body that is no entry: {_first(error)}.") from error
    if draft.digest != expected:
        raise BadInput(
            f"A draft of kind {draft.kind.value} has the digest {draft.digest}, but its body gives {expected}.",
            value=draft.digest,
            hint="Take an entry's digest from `Entry.digest`, that of any other body from `digest.of_json`.",
        )
    content: dict[str, Any] = {
        "sequence": sequence,
        "previous": previous,
        "kind": draft.kind.value,
        "project": draft.project,
        "candidate": draft.candidate,
        "stage": draft.stage,
        "key": draft.key,
        "digest": draft.digest,
        "at": stamp(at),
        "actor": actor,
        "body": body,
    }
    content |= {name: value for name, value in (("via", via), ("signer", signer)) if value is not None}
    return Record.model_validate({**content, "at": at.astimezone(UTC), "hash": digests.of_json(content)})


def check(draft: Draft, actor: str) -> None:
    """Raise `BadInput` for an empty actor or key, and for text that no database takes."""
    named = {
        "project": draft.project,
        "candidate": draft.candidate,
        "stage": draft.stage,
        "key": draft.key,
        "digest": draft.digest,
        "actor": actor,
    }
    check_text(**named)
    if not actor.strip():
        raise BadInput("A record needs an actor: who wrote it.", value=actor, hint="Name a person or a service.")
    if draft.key == "":
        raise BadInput("A draft's key is empty.", hint="Give the digest that names the work, or None.")


def check_text(**named: str | None) -> None:
    """Raise `BadInput` for text with a NUL or a lone surrogate, which no database takes."""
    for name, text in named.items():
        if text is not None and ("\x00" in text or any("\ud800" <= letter <= "\udfff" for letter in text)):
            raise BadInput(f"The {name} {text!r} has a character that a database cannot hold.", value=repr(text))


def store(record: Record) -> Stored:
    """The record in the characters that were hashed."""
    return Stored(
        sequence=record.sequence,
        previous=record.previous,
        hash=record.hash,
        kind=record.kind.value,
        project=record.project,
        candidate=record.candidate,
        stage=record.stage,
        key=record.key,
        digest=record.digest,
        at=stamp(record.at),
        actor=record.actor,
        body=canonical(dict(record.body)),
        via=record.via,
        signer=record.signer,
        signature=record.signature,
    )


def content(stored: Stored) -> dict[str, Any]:
    """Every field as JSON, the body as a value, without those of `OPTIONAL` that are not set.

    Raises `ValueError` when the body is not canonical JSON.
    """
    value = _present(stored)
    try:
        value["body"] = parse_canonical(stored.body)
    except ValueError as error:
        raise ValueError(str(error).replace("it is", "its body is", 1)) from error
    return value


def line_of(stored: Stored) -> str:
    """The record in one line of canonical JSON, of a row whose body is canonical."""
    before, behind = around_body(_present(stored))
    return before + stored.body + behind


def hash_of(stored: Stored) -> str:
    """The hash that the row's fields give: of all but the hash itself and the signature over it.

    Raises `ValueError` for a field that is no text.
    """
    present = _present(stored)
    before, behind = around_body({name: value for name, value in present.items() if name not in _UNHASHED})
    return digests.of_bytes((before + str(stored.body) + behind).encode("utf-8"))


def _present(stored: Stored) -> dict[str, Any]:
    """The row's fields, without those of `OPTIONAL` that are not set."""
    return {name: value for name in FIELDS if (value := getattr(stored, name)) is not None or name not in OPTIONAL}


def around_body(value: Mapping[str, Any]) -> tuple[str, str]:
    """The canonical JSON of a record's fields, what stands before the body and what stands behind it."""
    names = sorted(value)
    middle = names.index("body")
    return f'{{{_members(value, names[:middle])},"body":', f",{_members(value, names[middle + 1 :])}}}"


def _members(value: Mapping[str, Any], names: Sequence[str]) -> str:
    return ",".join(f'"{name}":{_scalar(value[name])}' for name in names)


def _scalar(value: Any) -> str:
    if value is None or isinstance(value, str) or type(value) is int:
        return plain(value)
    raise ValueError(f"{value!r} is no text")


def read(stored: Stored) -> Record:
    """The record of a row. Raises `IntegrityError` when the row is none; hashes are not checked here."""
    try:
        return _record(stored, content(stored))
    except UNREADABLE as error:
        raise IntegrityError(
            f"Record {stored.sequence} of the ledger cannot be read: {_first(error)}.",
            gate=GATE,
            value=stored.sequence,
            hint="Run `towpath ledger verify` and restore the ledger from a backup.",
        ) from error


def _record(stored: Stored, value: dict[str, Any]) -> Record:
    record = Record.model_validate(value)
    if stamp(record.at) != stored.at:
        raise ValueError(f"its time {stored.at!r} is not in the form {stamp(record.at)!r}")
    return record


def _first(error: BaseException) -> str:
    """The gist of an error in one line: pydantic's first complaint with its place, else the message."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
    return str(error).rstrip(".") or type(error).__name__


def contradictions(stored: Stored) -> list[str]:
    """What is wrong with a record by itself, each in a sentence; nothing for a record as it was written."""
    try:
        value = content(stored)
        record = _record(stored, value)
        hashed = hash_of(stored)
    except UNREADABLE as error:
        return [f"It cannot be read: {_first(error)}."]
    found: list[str] = []
    if (stored.signer is None) is not (stored.signature is None):
        found.append("It names a signer and has no signature, or has a signature and names no signer.")
    if hashed != stored.hash:
        found.append(
            f"Its fields give the hash {hashed}, not its own {stored.hash}: it was changed after it was written."
        )
    try:
        is_entry = record.kind is RecordKind.ENTRY
        digest = body_digest(record.kind, value["body"]) if is_entry else digests.of_bytes(stored.body.encode("utf-8"))
    except ValidationError as error:
        return [*found, f"Its body is no entry: {_first(error)}."]
    if digest != stored.digest:
        found.append(f"Its body gives the digest {digest}, not its own {stored.digest}: one of the two was changed.")
    return found


def stored_of(value: Mapping[str, Any], line: str) -> Stored:
    """The row of a line of canonical JSON and its value. Raises `ValueError` for one that is no record's."""
    if set(value) | set(OPTIONAL) != set(FIELDS) or any(value.get(name, "") is None for name in OPTIONAL):
        raise ValueError(f"its fields are {', '.join(sorted(value))}; a record has {', '.join(sorted(FIELDS))}")
    if type(value["sequence"]) is not int:
        raise ValueError(f"its sequence is {value['sequence']!r}, not a whole number")
    before, behind = around_body(value)
    body = line[len(before) : len(line) - len(behind)]
    if before + body + behind != line:
        raise ValueError("it is not in the canonical form in which it was exported")
    try:
        parse_canonical(body)
    except ValueError as error:
        raise ValueError("it is not in the canonical form in which it was exported") from error
    return Stored(**{**value, "body": body})
