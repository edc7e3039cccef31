"""The governed path as a Prefect flow: from raw data to a registered model, a task a stage.

Run it without a server (`python flows/governed_path.py PROJECT --as-of 2013-06-01`; Prefect starts a temporary one), or
against the one that PREFECT_API_URL names. Exit code 0: registered; 3: refused by a gate; the others as `towpath run`.
"""

from __future__ import annotations

import argparse
import sys

import stage_tasks  # before Prefect: it switches off what calls home

# isort: split
from prefect import State, flow

from towpath.path import ORDER


@flow(name="governed-path", flow_run_name=stage_tasks.run_name, persist_result=False)
def governed_path(project: str, as_of: str | None = None, until: str | None = None) -> str | State[str]:
    """Take a model project from raw data to a registered model, or to the gate that refuses it.

    Args:
        project: Folder of the model project, with its charter.yaml.
        as_of: See the data as it was known then (ISO 8601, in UTC if it says no zone); today's beginning if left out.
        until: Stop after this stage.

    Returns the digest of the candidate. A refused one ends the run as failed, in the state `Refused`.
    """
    return stage_tasks.go(project, as_of, order=ORDER, until=until)


def main() -> int:
    """Run the flow once, here."""
    parser = argparse.ArgumentParser(prog="governed_path.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("project", help="folder of the model project, with its charter.yaml")
    parser.add_argument("--as-of", help="see the data as it was known then (ISO 8601); today's beginning if left out")
    parser.add_argument("--until", choices=[stage.value for stage in ORDER], help="stop after this stage")
    given = parser.parse_args()
    return stage_tasks.code_of(governed_path(given.project, given.as_of, given.until, return_state=True))


if __name__ == "__main__":
    sys.exit(main())
