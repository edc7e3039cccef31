"""The ways in which a record can be tampered with, and what each of them is called."""

from __future__ import annotations

from enum import StrEnum


class Tampering(StrEnum):
    """What was done to a ledger at the first record that is not as it was written."""

    EDITED = "edited"
    """A field of a record was changed after it was written."""
    DELETED = "deleted"
    """Records were taken out of the middle or off the beginning, whether or not those behind were renumbered."""
    INSERTED = "inserted"
    """Records were put in between that were not written there."""
    REORDERED = "reordered"
    """Records stand at other places than they were written at."""
    TRUNCATED = "truncated"
    """Records were cut off the end, and perhaps others written in their stead. Only a checkpoint shows it."""
    FORGED_ACTOR = "forged actor"
    """The record was written, but who wrote it, or how that was known, was changed."""
    FORGED = "forged"
    """No trusted key signed the record: it was written or rewritten by somebody without one, or by a revoked key."""
    REWOUND = "rewound"
    """Signed as it is, but dated before the record that it follows: the writer's clock was put back."""
    REWRITTEN = "rewritten"
    """The record is another than the one that a checkpoint noted at its place."""
