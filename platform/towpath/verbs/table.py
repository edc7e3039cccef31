"""Every verb by its name: the API has an operation for each, and the command line asks them by it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from towpath.core.access import Action
from towpath.verbs import (
    approvals,
    candidates,
    custody,
    installation,
    labels,
    lineage,
    objectives,
    promotions,
    reconciling,
    records,
    rollouts,
)
from towpath.verbs.verb import Verb

_MODULES: Final = (
    *(candidates, approvals, promotions, rollouts, records, custody, reconciling, installation, labels),
    *(objectives, lineage),
)

VERBS: Final[Mapping[str, Verb[Any, Any]]] = {verb.name: verb for module in _MODULES for verb in module.VERBS}

WORKERS: Final[Mapping[Action, str]] = {
    Action.RUN: "towpath run",
    Action.MONITOR: "towpath monitor",
    Action.BATCH: "towpath batch",
    Action.EXPORT: "towpath export",
    Action.REPRODUCE: "towpath reproduce",
    Action.ROLLOUT_RUN: "towpath rollout run",
    Action.MODEL_ATTEST: "towpath model attest",
    Action.LEDGER_EXPORT: "towpath ledger export",
    Action.LEDGER_BACKUP: "towpath ledger backup",
}
"""What no server does: it works on the data, or on files, where those are. Each with the command that a worker runs."""
