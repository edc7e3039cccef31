"""The charter's section `serving`: how a model is served, and what is answered when something is missing or fails."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from pydantic import Field

from towpath.core.declaration import Declaration


class OnFault(StrEnum):
    """What becomes of a request whose online features cannot be had as they should be."""

    DEFAULT = "default"
    REFUSE = "refuse"
    LAST_KNOWN = "last-known"


class OnlineFeatures(Declaration):
    """Reading features by entity key when the request does not bring them."""

    timeout_ms: float = Field(default=50, gt=0, le=10_000)
    """How long the online store may take, in milliseconds."""
    missing: OnFault = OnFault.DEFAULT
    """When the store does not know the entity."""
    stale: OnFault = OnFault.DEFAULT
    """When the newest value is older than its feature view's time to live; last-known uses it all the same."""
    down: OnFault = OnFault.LAST_KNOWN
    """When the store does not answer in time or at all; last-known uses what was last read, then the default."""
    defaults: Mapping[str, float | int | str | None] = {}
    """Values that stand in, by feature; a feature that is not named is null, as a missing value in training."""


class Serving(Declaration):
    """How the gateway serves the project's models."""

    fallback: float | None = Field(default=None, allow_inf_nan=False)
    """The answer when no model can give one; when left out, such a request is refused (503)."""
    latency_budget_ms: float = Field(default=50, gt=0, le=60_000)
    """How long an answer may take inside the gateway, in milliseconds; the champion answers for a late challenger."""
    cheaper: Mapping[str, Any] | None = None
    """Training parameters of a cheaper model that answers when the budget is about to be missed; none when left out."""
    parity_tolerance: float = Field(default=1e-6, gt=0, le=0.01)
    """The most that an answer may differ from scikit-learn's, on any row; a regression's in standard deviations."""
    features: OnlineFeatures = OnlineFeatures()
    """Reading features by entity key."""
    max_rows: int = Field(default=1_024, ge=1, le=100_000)
    """Rows that one request may hold."""
