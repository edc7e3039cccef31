"""Which model answers a unit: a keyed hash, the same on every replica, so that nobody has to be asked.

`bucket(salt, unit)` lies in 0..9_999; the challenger answers when it lies below the weight. So assignment is sticky by
unit, monotone while weights rise, and a fall of the weight moves everybody at once. The hash is keyed BLAKE2b (RFC
7693): a checksum with a salt in front of it would correlate one rollout's buckets with the next one's.
"""

from __future__ import annotations

from enum import StrEnum
from hashlib import blake2b

BUCKETS = 10_000
"""Basis points: the resolution of weights."""


class Arm(StrEnum):
    """Which side of a rollout an answer belongs to. A shadow's answer is logged and never given."""

    CHAMPION = "champion"
    CHALLENGER = "challenger"
    SHADOW = "shadow"


def bucket(salt: bytes, unit: str) -> int:
    """The unit's bucket, 0..9_999. The salt holds up to 64 bytes; a new one for every rollout.

    A lone surrogate in a unit's name, which JSON can express and UTF-8 cannot, is hashed as the bytes that it would be.
    """
    name = unit.encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(name, digest_size=8, key=salt).digest(), "big") % BUCKETS


def arm(bucket: int | None, weight: int) -> Arm:
    """The arm of a bucket under a weight in basis points. Without a unit there is no bucket: the champion."""
    return Arm.CHALLENGER if bucket is not None and bucket < weight else Arm.CHAMPION


def mirrored(bucket: int | None, shadow: int) -> bool:
    """Whether the champion's answer to the bucket is mirrored to the challenger, `shadow` basis points of all units.

    Buckets from the other end than those of `arm`: who is exposed first was not shadowed first.
    """
    return bucket is not None and bucket >= BUCKETS - shadow
