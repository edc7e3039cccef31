"""Signers that somebody vouches for: by a certificate beside the key, or by an identity. Keys stay trusted beside them.

Who vouches is said in a file (`keys_trust`). Whoever is vouched for needs to be known nowhere, and so is revoked by the
fingerprint of a certificate: the signer's, that of an authority, or of one between; or by an identity's id.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path

from towpath.adapters import keys_certificates as certificates
from towpath.adapters.keys_local import LocalKeys, key_id_of
from towpath.adapters.keys_trust import Trust, Trusted
from towpath.core import statement as statements
from towpath.core.errors import BadInput, IntegrityError, Misconfigured
from towpath.core.keyless import Keyless
from towpath.core.statement import GATE, PAYLOAD_TYPE
from towpath.ports import (
    Certified,
    CertifiedKey,
    Identified,
    Keys,
    Purpose,
    Stamp,
    TokenKey,
    TrustedKey,
)

_log = logging.getLogger(__name__)
_NOBODY = Trusted(roots="", identities=(), entries={})


class VouchedKeys:
    """The port `Keys`. `keys` has the private keys, `local` what is trusted and revoked; `certificate` is that of the
    model key, and with `keyless` an identity signs models. `trust`: who vouches; without one nobody does.
    """

    def __init__(
        self,
        keys: Keys,
        local: LocalKeys,
        *,
        trust: Trust | None,
        clock: Callable[[], datetime],
        certificate: Path | None = None,
        keyless: Keyless | None = None,
    ) -> None:
        self._keys = keys
        self._local = local
        self._trust = trust
        self._clock = clock
        self._certificate = certificate
        self._keyless = keyless
        self._told = ""

    def key_id(self, purpose: Purpose) -> str | None:
        """Of an identity none: until it signs it is not known which it is."""
        if purpose is not Purpose.MODEL or (self._keyless is None and self._certificate is None):
            return self._keys.key_id(purpose)
        if self._certificate is None or self._keyless is not None:
            return None
        return certificates.fingerprint(certificates.read(self._certificate)[0])

    def sign(self, purpose: Purpose, payload: bytes) -> tuple[str, bytes]:
        if purpose is Purpose.MODEL and self._keyless is not None:
            raise Misconfigured("An identity signs statements alone.", value="TOWPATH_MODEL_KEY")
        return self._keys.sign(purpose, payload)

    def private(self, purpose: Purpose) -> Path | TokenKey | CertifiedKey | Keyless:
        if purpose is Purpose.MODEL and self._keyless is not None:
            return self._keyless
        key = self._keys.private(purpose)
        if purpose is not Purpose.MODEL or self._certificate is None:
            return key
        assert isinstance(key, Path | TokenKey)
        return CertifiedKey(key=key, certificate=self._certificate)

    def stamp(self, statement: bytes) -> Stamp:
        """Raises `IntegrityError` where nobody who is trusted vouches for the signer: nobody would load the model."""
        if self._keyless is not None:
            from towpath.adapters.keys_sigstore import stamped

            made = stamped(self._keyless, statement)
        elif self._certificate is not None:
            chain = certificates.read(self._certificate)
            made = Stamp(
                key_id=certificates.fingerprint(chain[0]),
                signature=self._keys.sign(Purpose.MODEL, statements.pae(PAYLOAD_TYPE, statement))[1],
                material=certificates.material(chain),
            )
        else:
            return self._keys.stamp(statement)
        found = self.vouched(made, statement)
        return Stamp(key_id=found.key_id, signature=made.signature, material=made.material)

    def vouched(self, stamp: Stamp, statement: bytes, *, at: datetime | None = None) -> Certified | Identified:
        trusted = self._trusted()
        if stamp.material is None:
            raise IntegrityError("A signature says of nobody who vouches for it.", gate=GATE, value=stamp.key_id)
        if not certificates.holds_chain(stamp.material):
            from towpath.adapters.keys_sigstore import identified

            found, own = identified(stamp, statement, identities=trusted.identities)
            self._require_unrevoked((found.key_id, *own), found.identity)
            return found
        chain = certificates.proven(stamp.material, roots=trusted.roots, at=at or self._clock())
        name = certificates.subject_of(chain[0])
        marks = [mark for one in chain for mark in certificates.fingerprints(one)]
        key_ids = [key_id_of(certificates.public_pem(chain[0])), *marks]
        self._require_unrevoked(key_ids, name)
        if not certificates.signed(chain[0], statements.pae(PAYLOAD_TYPE, statement), stamp.signature):
            raise IntegrityError(
                f"A signature is not by the key of the certificate of {name}, as it says.",
                gate=GATE,
                value=stamp.key_id,
                hint="It was changed after it was signed, or never signed. Find out who wrote it.",
            )
        return Certified(key_id=certificates.fingerprint(chain[0]), subject=name, roots=trusted.roots)

    def trusted(self, purpose: Purpose) -> Mapping[str, TrustedKey]:
        """With whoever vouches; what was revoked of them is in the folder.

        Nobody does while their file is wrong: a slip there must not keep the keys from being known, or revoked.
        """
        local = self._local.trusted(purpose)
        if purpose is not Purpose.MODEL:
            return local
        try:
            return {**self._trusted().entries, **local}
        except Misconfigured as error:
            if error.message != self._told:
                self._told = error.message
                _log.warning("nobody vouches for signers of models: %s", error)
            return local

    def verifies(self, purpose: Purpose, key_id: str, payload: bytes, signature: bytes) -> bool:
        return self._local.verifies(purpose, key_id, payload, signature)

    def made(self, key: TrustedKey, payload: bytes, signature: bytes) -> bool:
        return self._local.made(key, payload, signature)

    def rotate(self, purpose: Purpose, *, at: datetime) -> TrustedKey:
        if purpose is not Purpose.MODEL or (self._keyless is None and self._certificate is None):
            return self._keys.rotate(purpose, at=at)
        raise self._unrotated()

    def revoke(self, key_id: str, *, at: datetime, after: int, reason: str) -> TrustedKey:
        if key_id in self._local.trusted(Purpose.MODEL) or key_id in self._local.trusted(Purpose.LEDGER):
            return self._local.revoke(key_id, at=at, after=after, reason=reason)
        moment = at.isoformat(timespec="seconds")
        known = self._trusted().entries.get(key_id)
        return self._local.trust(
            TrustedKey(
                key_id=key_id,
                purpose=Purpose.MODEL,
                pem="",
                added_at=known.added_at if known is not None else moment,
                revoked_at=moment,
                revoked_after=after,
                reason=reason,
                about=known.about if known is not None else "certificate",
            )
        )

    def _trusted(self) -> Trusted:
        return self._trust.read() if self._trust is not None else _NOBODY

    def _require_unrevoked(self, key_ids: Iterable[str], name: str) -> None:
        known = self._local.trusted(Purpose.MODEL)
        for key_id in key_ids:
            if (entry := known.get(key_id)) is not None and entry.revoked_at is not None:
                raise IntegrityError(
                    f"The signature of {name} counts for nothing: {key_id} was revoked.",
                    gate=GATE,
                    value=key_id,
                    hint="`towpath key list` says why; a platform admin attests anew: `towpath model attest`.",
                )

    def _unrotated(self) -> BadInput:
        if self._keyless is not None:
            return BadInput(
                "There is no model key to rotate: an identity signs, each time with another key.",
                value="model",
                hint="Who may sign is said in TOWPATH_MODEL_TRUST.",
            )
        return BadInput(
            f"The model key has a certificate, {self._certificate}: its authority renews it.",
            value="model",
            hint="Put the new key and its certificate in the place of the old ones; then revoke the old certificate's "
            "fingerprint if it must not count any more.",
        )
