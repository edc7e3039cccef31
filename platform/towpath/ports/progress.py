"""Asked of whoever watches a long piece of work."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told how far a long piece of work is."""

    def begin(self, stage: str) -> None: ...

    def step(self, what: str) -> None:
        """A step of the current stage began."""
        ...

    def found(self) -> None:
        """The current stage's entry was in the ledger already; nothing is computed."""
        ...

    def end(self, stage: str, outcome: str) -> None: ...
