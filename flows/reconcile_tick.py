"""One look of the reconciler as a Prefect flow: what was moved by hand is put back or told, once each.

Run it by hand (`python flows/reconcile_tick.py PROJECT`) or each minute (deploy/prefect.yaml) where no
`towpath reconcile --watch` stands, which costs less: a run of a flow imports Prefect, MLflow and Feast anew. Both
together do no harm. It ends in the state `Drifted`, and emits the event `towpath.reconcile`, when something differs
that was only told.
"""

from __future__ import annotations

import argparse
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import stage_tasks  # before Prefect: it switches off what calls home

# isort: split
from prefect import State, flow, get_run_logger, runtime
from prefect.events import emit_event
from prefect.states import Failed

from towpath.cli import opening, reconciling
from towpath.cli.exits import Exit

if TYPE_CHECKING:
    from towpath.stages.reconcile import Reconciled

DRIFTED = "Drifted"  # the name of the state in which a flow ends that could only tell


def run_name() -> str:
    """`<project> reconcile`"""
    return f"{Path(runtime.flow_run.parameters['project']).resolve().name} reconcile"


@flow(name="reconcile-tick", flow_run_name=run_name, persist_result=False)
def reconcile_tick(project: str, deployments: str = "deploy/prefect.yaml") -> str | State[str]:
    """Take one look at what services show of a project.

    Args:
        project: Folder of the model project, or its name in the ledger.
        deployments: File of the deployments that Prefect should have.

    Returns what was found, in sentences. What was only told ends the run as failed, in the state `Drifted`.
    """
    settings = opening.settings()
    ((name, folder),) = reconciling.meant(settings, project)
    with reconciling.open_one(settings, name, folder, deployments=deployments) as opened:
        found = reconciling.once(opened, threading.Event())
    says = " ".join(reconciling.sentences(found)) or f"{name}: everything is as the ledger decided."
    get_run_logger().info(says)
    if found.treated:
        _announce(found, says)
    if reconciling.code_of([found]) is Exit.REFUSED:
        return Failed(name=DRIFTED, message=says)
    return says


def _announce(found: Reconciled, says: str) -> None:
    """Tell Prefect's automations."""
    emit_event(
        "towpath.reconcile",
        resource={
            "prefect.resource.id": f"towpath.project.{found.project}",
            "prefect.resource.name": found.project,
        },
        payload={"says": says, "codes": [one.drift.code for one in found.treated], "told": len(found.standing)},
    )


def main() -> int:
    """Run the flow once, here."""
    parser = argparse.ArgumentParser(prog="reconcile_tick.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("project", help="folder of the model project, or its name in the ledger")
    given = parser.parse_args()
    state = reconcile_tick(given.project, return_state=True)
    return 3 if state.name == DRIFTED else stage_tasks.code_of(state)


if __name__ == "__main__":
    sys.exit(main())
