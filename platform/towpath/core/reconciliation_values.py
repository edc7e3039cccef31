"""A difference between what is decided and what a service shows."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Drift(BaseModel):
    """One thing that is not as decided: a code, what it is about, what it should be and what it is, in words.

    `restorable`: it can be put back. `doubtful`: it may be work under way (a registration, a gateway that is loading),
    and counts when a later look finds it still. `lagging`: the decision is so new that the service may not have been
    shown it yet; it is shown, and nothing is recorded. `known`: what the service says of who moved it, and when.
    `key`: which alias or version it is about, for putting it back.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: str
    subject: str
    wanted: str
    found: str
    restorable: bool = False
    doubtful: bool = False
    lagging: bool = False
    known: str = ""
    key: str = ""

    @property
    def identity(self) -> tuple[str, str, str, str]:
        """The same for the same difference, however often it is seen."""
        return self.code, self.subject, self.wanted, self.found

    @property
    def says(self) -> str:
        return f"{self.subject} is {self.found} instead of {self.wanted}"
