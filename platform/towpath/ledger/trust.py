"""Whether a record's signature counts: whose key made it, whether that key was trusted then, and whether it fits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Self

from towpath.core.evidence import RecordKind
from towpath.ledger.chain import Stored
from towpath.ledger.signing import TOLERANCE, payload, signature_of
from towpath.ports import Keys, Purpose, TrustedKey

_NEVER_UNSIGNED: Final = frozenset(
    kind.value for kind in RecordKind if kind not in (RecordKind.ENTRY, RecordKind.DECISION, RecordKind.INCIDENT)
)
"""Kinds of record that came with the signatures: none was ever written without, whatever it is dated."""


@dataclass(frozen=True, kw_only=True)
class Trust:
    """The keys of ledgers that are trusted, or were until they were revoked, as they are when this is made."""

    keys: Keys
    trusted: Mapping[str, TrustedKey]

    @classmethod
    def of(cls, keys: Keys) -> Self:
        return cls(keys=keys, trusted=dict(keys.trusted(Purpose.LEDGER)))

    def complaint(self, row: Stored, *, signed_before: bool) -> str | None:
        """Why the row's signature, or that there is none, does not let it pass; None when it does.

        Records without one are of the time before there were keys: none is behind a signed one, nor later than the
        first key, nor of a kind, or a decision that names who agreed, as there were only with keys.
        """
        if row.signer is None and row.signature is None:
            return self._unsigned(row, signed_before=signed_before)
        key = self.trusted.get(str(row.signer))
        if key is None:
            return f"It is signed by the key {row.signer}, which is not trusted."
        if key.revoked_after is not None and row.sequence > key.revoked_after:
            return f"It is signed by the key {key.key_id}, which was revoked after record {key.revoked_after}."
        if not self.fits(row):
            return f"Its signature is not one that the key {key.key_id} made over it."
        return None

    def fits(self, row: Stored, *, hash_: str | None = None) -> bool:
        """Whether the signature is one over the row's actor and via, and its hash or another."""
        signature = signature_of(row)
        if signature is None or str(row.signer) not in self.trusted:
            return False
        try:
            signed = payload(row.actor, row.hash if hash_ is None else hash_, row.via)
        except (ValueError, TypeError, AttributeError):
            return False
        return self.keys.verifies(Purpose.LEDGER, str(row.signer), signed, signature)

    def others(self, row: Stored) -> Iterator[str]:
        """Every key that could have signed the row but for what it says itself."""
        return (key_id for key_id in self.trusted if key_id != row.signer)

    def _unsigned(self, row: Stored, *, signed_before: bool) -> str | None:
        if signed_before:
            return "It is not signed, and records before it are."
        added = [datetime.fromisoformat(key.added_at) for key in self.trusted.values()]
        if added and _time(row) > min(added) + TOLERANCE:
            return "It is not signed, and there was a key to sign it with when it was written."
        if added and (row.kind in _NEVER_UNSIGNED or _names_who_agreed(row)):
            return "It is not signed, and records like it always were."
        return None


def _names_who_agreed(row: Stored) -> bool:
    return row.kind == RecordKind.DECISION.value and '"governance":' in row.body


def _time(row: Stored) -> datetime:
    """The row's time, of a row that can be read."""
    return datetime.fromisoformat(row.at)
