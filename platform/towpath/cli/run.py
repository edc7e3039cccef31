"""`towpath run`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from towpath.cli import options, output
from towpath.core.errors import BadInput
from towpath.core.gates import Stage


def run(
    project: options.Folder = Path(),
    as_of: options.AsOf = None,
    until: Annotated[
        Stage | None, typer.Option(metavar="STAGE", help="Stop after this stage.", autocompletion=options.stages)
    ] = None,
    as_json: options.Json = False,
) -> int:
    """Take a project from raw data to a registered model; what did not change since the last run is not done again.

    Example: towpath run my-model --as-of 2013-06-01
    """
    from towpath.cli import opening, walk
    from towpath.cli.progress import StageProgress
    from towpath.core.access import Action
    from towpath.path import ORDER
    from towpath.project import load
    from towpath.stages.work import champion

    if until is not None and until not in ORDER:
        raise BadInput(
            f"`run` does not go to {until}.",
            value=until,
            valid=ORDER,
            hint=f"See `towpath {'rollout' if until is Stage.CANARY else until} --help`.",
        )
    settings, loaded = opening.settings(), load(project)
    identity = opening.acting(settings, None, Action.RUN, loaded.charter.project)
    with (
        output.libraries_on_stderr(),
        StageProgress(output.messages()) as progress,
        walk.opened(settings, loaded, progress, as_of=as_of, order=ORDER, identity=identity) as work,
    ):
        walked = walk.walk(work, progress, until=until)
        reigning = champion(work.ports.ledger, work.name)
    if as_json:
        output.emit(walk.document(walked, as_of=work.as_of))
        return walked.code
    walk.closing(walked)
    candidate = walked.candidate
    rival = loaded.charter.rollout is not None and reigning is not None
    line = _next(candidate.id, candidate.stages[-1], refused=walked.refused, rival=rival)
    if reigning is not None and reigning.candidate.digest == candidate.digest:
        line = f"{candidate.id} is the champion. Look at it: towpath show {candidate.id} --open model_card.html"
    output.results().print(line, soft_wrap=True)
    return walked.code


def _next(candidate: str, stage: str, *, refused: bool, rival: bool) -> str:
    if refused:
        return f"{candidate} was refused; nothing was registered. Look closer: towpath show {candidate} --stage {stage}"
    if stage == Stage.REGISTER:
        return f"{candidate} is registered. Look at it: towpath show {candidate} --open model_card.html\n" + (
            f'Let it earn traffic: towpath rollout start {candidate} --by NAME --reason "WHY"'
            if rival
            else f'Make it the champion: towpath promote {candidate} --by NAME --reason "WHY"'
        )
    return f"{candidate} passed {stage}. Look at it: towpath show {candidate}"
