"""`towpath reconcile`"""

from __future__ import annotations

from typing import Annotated

import typer

from towpath.cli import options


def reconcile(
    project: options.Project = None,
    watch: Annotated[bool, typer.Option("--watch", help="Look again and again, until interrupted.")] = False,
    every: Annotated[
        str, typer.Option(metavar="DURATION", help="With `--watch`: the time between two looks, 2s to 1h.")
    ] = "20s",
    deployments: Annotated[
        str,
        typer.Option(metavar="FILE", help="Prefect's deployments as declared; looked at where PREFECT_API_URL is set."),
    ] = "deploy/prefect.yaml",
    by: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Who acts; TOWPATH_TOKEN, else TOWPATH_ACTOR, else the login name."),
    ] = None,
    as_json: options.Json = False,
) -> int:
    """Put back, or tell, what was moved by hand in MLflow, the feature store, gateways and Prefect.

    Each difference is one incident of the ledger and one alert (TOWPATH_ALERTS). Exit code 0: all is as decided, or was
    put back; 3: something differs that was only told; 5: something could not be looked at.

    Example: towpath reconcile --watch --every 20s
    """
    from towpath.cli import reconciling

    return reconciling.reconcile(project, watch=watch, every=every, deployments=deployments, by=by, as_json=as_json)
