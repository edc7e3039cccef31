"""keys: rotated and revoked, and written down. A key that signs now is replaced before it is revoked."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from string import hexdigits

from pydantic import JsonValue

from towpath.core import digest as digests
from towpath.core.errors import BadInput, Denied, NotFound
from towpath.core.evidence import Record, RecordKind
from towpath.core.identity import EVERY_PROJECT
from towpath.ports import Draft, Keys, Ledger, Purpose, TrustedKey

STAGE = "access"
_WHOLE = (32, 64)
"""Digits of a certificate's fingerprint: as an attestation names it, and as everybody else does."""


def named(keys: Keys, given: str) -> TrustedKey:
    """The key that a person means by at least 8 digits of its id. Raises `NotFound`.

    Where somebody vouches for signers of models, a whole fingerprint is of a certificate that nobody here has seen yet.
    """
    known = {key_id: key for purpose in Purpose for key_id, key in keys.trusted(purpose).items()}
    found = [key for key_id, key in known.items() if len(given) >= 8 and key_id.startswith(given)]
    digits = given.replace(":", "").lower()
    vouched = any(key.about for key in known.values())
    if not found and vouched and len(digits) in _WHOLE and set(digits) <= set(hexdigits):
        return known.get(digits[:32]) or TrustedKey(
            key_id=digits[:32], purpose=Purpose.MODEL, pem="", added_at="", about="certificate"
        )
    if len(found) != 1:
        raise NotFound(
            f"{given!r} names {'no' if not found else 'more than one'} key.",
            value=given,
            valid=sorted(known),
            hint="Give at least 8 digits of its id: `towpath key list`; of a certificate, its whole fingerprint.",
        )
    return found[0]


def rotate(keys: Keys, ledger: Ledger, purpose: Purpose, *, actor: str, at: datetime) -> TrustedKey:
    """A new key that signs from now on; what the old one signed stays good until it is revoked."""
    before = _signed_before(keys, purpose)
    made = keys.rotate(purpose, at=at)
    _write(ledger, {"key": "rotate", "purpose": purpose.value, "key_id": made.key_id, "before": before}, actor)
    return made


def revoke(keys: Keys, ledger: Ledger, key: TrustedKey, *, actor: str, at: datetime, reason: str) -> TrustedKey:
    """Trust a key no longer: what it signs behind the record as it is now, and every model it signed, counts no more.

    Raises `Denied` without a reason, and `BadInput` for the key that signs now or one that was revoked.
    """
    if len(reason.split()) < 2:
        raise Denied("A revocation needs a reason.", value=reason, hint='Say why, in a few words: --reason "…".')
    if keys.key_id(key.purpose) == key.key_id:
        raise BadInput(
            f"Key {key.key_id} is the one that signs now.",
            value=key.key_id,
            hint=f"Make a new one first: towpath key rotate {key.purpose}."
            if not key.about
            else "Put another certificate, and its key, in its place first.",
        )
    head = ledger.head()
    after = head.sequence if head is not None else 0
    revoked = keys.revoke(key.key_id, at=at, after=after, reason=reason)
    body: Mapping[str, JsonValue] = {
        "key": "revoke",
        "purpose": key.purpose.value,
        "key_id": key.key_id,
        "after": after,
        "reason": reason,
    }
    _write(ledger, body, actor)
    return revoked


def _signed_before(keys: Keys, purpose: Purpose) -> str | None:
    """The key that signed until now. One on a token signs only once it is trusted: else it was the last one added.

    Who vouches for keys is none.
    """
    now, known = keys.key_id(purpose), keys.trusted(purpose)
    if now in known:
        return now
    good = sorted((key.added_at, key_id) for key_id, key in known.items() if key.revoked_at is None and not key.about)
    return good[-1][1] if good else None


def _write(ledger: Ledger, body: Mapping[str, JsonValue], actor: str) -> Record:
    return ledger.append(
        Draft(
            kind=RecordKind.ACCESS,
            project=EVERY_PROJECT,
            candidate="",
            stage=STAGE,
            key=None,
            digest=digests.of_json(dict(body)),
            body=dict(body),
        ),
        actor=actor,
    )
