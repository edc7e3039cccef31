"""The watch over a promoted model as a Prefect flow: later data against what the champion was trained and judged on.

Run it by hand (`python flows/drift_watch.py PROJECT --as-of 2013-08-01`) or on a schedule (deploy/prefect.yaml).
When it refuses, it ends in the state `Refused`, emits the event `towpath.drift` and exits with code 3.
"""

from __future__ import annotations

import argparse
import sys

import stage_tasks  # before Prefect: it switches off what calls home

# isort: split
from prefect import State, flow

from towpath.path import WATCH


@flow(name="drift-watch", flow_run_name=stage_tasks.run_name, persist_result=False)
def drift_watch(project: str, as_of: str | None = None) -> str | State[str]:
    """Compare a project's newest data with what its champion was trained on.

    Args:
        project: Folder of the model project, with its charter.yaml.
        as_of: The end of the watched window (ISO 8601, in UTC if it says no zone); today's beginning if left out.

    Returns the digest of the watch's last entry. Drift ends the run as failed, in the state `Refused`.
    """
    return stage_tasks.go(project, as_of, order=WATCH)


def main() -> int:
    """Run the flow once, here."""
    parser = argparse.ArgumentParser(prog="drift_watch.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("project", help="folder of the model project, with its charter.yaml")
    parser.add_argument("--as-of", help="the end of the watched window (ISO 8601); today's beginning if left out")
    given = parser.parse_args()
    return stage_tasks.code_of(drift_watch(given.project, given.as_of, return_state=True))


if __name__ == "__main__":
    sys.exit(main())
