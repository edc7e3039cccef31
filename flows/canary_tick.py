"""One tick of a rollout's controller as a Prefect flow: judge the evidence, step up, pull back, promote, or wait.

Idempotent: it looks at what is committed and what is so now. Run it by hand (`python flows/canary_tick.py PROJECT`) or
each minute (deploy/prefect.yaml) where no `towpath rollout run` stands; both together do no harm. A rollback ends it in
the state `RolledBack` and emits the event `towpath.rollback`. The lease holds for three minutes: when Prefect is down
for longer, gateways send everybody to the champion by themselves.
"""

from __future__ import annotations

import argparse
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import stage_tasks  # before Prefect: it switches off what calls home

# isort: split
from prefect import State, flow, get_run_logger, runtime
from prefect.events import emit_event
from prefect.states import Failed

from towpath import wiring
from towpath.cli import opening
from towpath.cli.rollout_opening import acting_in, open_canary
from towpath.core.access import Action
from towpath.core.errors import TowpathError
from towpath.core.rollout import Phase

if TYPE_CHECKING:
    from towpath.stages.canary import CanaryPorts, Ticked

LEASE = timedelta(minutes=3)
ROLLED_BACK = "RolledBack"  # the name of the state in which a flow ends that pulled traffic back


def run_name() -> str:
    """`<project> tick`"""
    return f"{Path(runtime.flow_run.parameters['project']).resolve().name} tick"


@flow(name="canary-tick", flow_run_name=run_name, persist_result=False)
def canary_tick(project: str) -> str | State[str]:
    """Take one look at a project's open rollout; at most one transition.

    Args:
        project: Folder of the model project, or its name in the ledger.

    Returns where the rollout is now, in words. A rollback ends the run as failed, in the state `RolledBack`.
    """
    from towpath.stages.canary import tick_once

    settings = opening.settings()
    name, identity = acting_in(settings, project, None, Action.ROLLOUT_RUN)
    ports = open_canary(settings, identity=identity)
    try:
        ticked = tick_once(ports, name, wiring.now(), lease=LEASE)
        _mirror(ports, name)
    finally:
        ports.close()
    says = _sentence(name, ticked)
    get_run_logger().info(says)
    for fault in ticked.faults:
        get_run_logger().warning(fault)
    if ticked.decision is not None and ticked.decision.to_state is Phase.ROLLING_BACK:
        _announce(name, ticked, says)
        return Failed(name=ROLLED_BACK, message=says)
    return says


def _mirror(ports: CanaryPorts, name: str) -> None:
    """Let MLflow show the champion; the tick is done, and a later one tries again what does not work now."""
    from towpath.stages.succession import mirror

    try:
        mirror(ports.ledger, lambda: wiring.open_models(opening.settings()), name)
    except TowpathError as error:
        get_run_logger().warning("MLflow does not show the champion yet: %s", error)


def _sentence(name: str, ticked: Ticked) -> str:
    if ticked.rollout is None:
        return f"{name} has no open rollout."
    row = ticked.rollout
    why = f" {ticked.decision.reason}" if ticked.decision else ""
    return f"{row.rollout_id} is {row.phase}; the challenger answers {row.weight / 100:g} % of units.{why}"


def _announce(name: str, ticked: Ticked, says: str) -> None:
    """Tell Prefect's automations."""
    assert ticked.decision is not None
    emit_event(
        "towpath.rollback",
        resource={
            "prefect.resource.id": f"towpath.project.{name}",
            "prefect.resource.name": name,
            "towpath.rollout": ticked.decision.rollout_id,
        },
        payload={"says": says, "reason": ticked.decision.reason_code.value, "decision": ticked.decision.decision_id},
    )


def main() -> int:
    """Run the flow once, here."""
    parser = argparse.ArgumentParser(prog="canary_tick.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("project", help="folder of the model project, or its name in the ledger")
    given = parser.parse_args()
    state = canary_tick(given.project, return_state=True)
    return 3 if state.name == ROLLED_BACK else stage_tasks.code_of(state)


if __name__ == "__main__":
    sys.exit(main())
