"""`towpath rollout`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from towpath.cli import options, output
from towpath.cli.exits import Exit
from towpath.core.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Sequence

app = typer.Typer(help="Let a challenger earn the champion's traffic, step by step.", no_args_is_help=True)

By = Annotated[
    str | None,
    typer.Option("--by", metavar="NAME", help="Who decides; TOWPATH_ACTOR when left out, never the login name."),
]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, in a few words; it is recorded.")]
Rollout = Annotated[
    str | None, typer.Option("--rollout", metavar="ID", help="A rollout by its id; the open one, else the last.")
]


@app.command()
def start(
    candidate: options.Candidate,
    reason: Reason,
    by: By = None,
    project: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of the model project; here when left out.", show_default=False)
    ] = Path(),
    threshold: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=NUMBER", help="A guardrail's threshold, instead of the champion's 99th percentile."),
    ] = None,
    as_json: options.Json = False,
) -> int:
    """Make a registered candidate the challenger: freeze the champion, the policy of the charter, and a new salt.

    Prints the units that each test can be expected to need. A controller moves it on: towpath rollout run.

    Example: towpath rollout start flights-1f2e3d4c5b6a --by "Ada Lovelace" --reason "trained on May too"
    """
    from towpath.cli import asking, rollout_told
    from towpath.verbs import rollouts

    asked = rollouts.StartRollout(candidate=candidate, reason=reason, thresholds=_thresholds(threshold or []))
    rollout_told.started(asking.ask(rollouts.ROLLOUT_START, asked, by=by, here=asking.folder(project)), as_json=as_json)
    return Exit.GOOD


@app.command()
def status(
    project: options.Project = None,
    rollout: Rollout = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Draw it anew until it has ended, or until interrupted.")
    ] = False,
    interval: Annotated[float, typer.Option(min=0.2, max=3600, help="Seconds between two pictures.")] = 5.0,
    as_json: options.Json = False,
) -> int:
    """Draw a rollout: weights, units by step, evidence against its bounds, confidence sequences, decisions.

    Example: towpath rollout status --watch
    """
    from towpath.cli import asking, rollout_shown

    if watch and as_json:
        raise BadInput("--watch draws, and --json prints one document.", hint="Leave one of them out.")
    named = asking.rollout(project, rollout)
    if watch:
        rollout_shown.watch(named, interval=interval)
        return Exit.GOOD
    found = rollout_shown.look(named)
    if as_json:
        output.emit(found.body)
    else:
        output.results().print(rollout_shown.drawn(found))
    return Exit.GOOD


@app.command()
def explain(project: options.Project = None, rollout: Rollout = None, as_json: options.Json = False) -> int:
    """Say in sentences why a rollout is where it is, and what it waits for.

    Example: towpath rollout explain
    """
    from towpath.cli import asking
    from towpath.verbs import rollouts

    found = asking.ask(rollouts.ROLLOUT_EXPLAIN, rollouts.AskRollout(rollout=asking.rollout(project, rollout)))
    if as_json:
        output.emit(found.body)
    else:
        for sentence in found.says:
            output.results().print(sentence, soft_wrap=True)
    return Exit.GOOD


@app.command()
def replay(
    project: options.Project = None,
    rollout: Rollout = None,
    file: Annotated[
        Path | None,
        typer.Option(metavar="EXPORT", help="Replay from an exported ledger instead, without its database."),
    ] = None,
    as_json: options.Json = False,
) -> int:
    """Decide every decision of a rollout again, from its record alone; exit code 4 when one comes out differently.

    Example: towpath rollout replay --rollout flights-r2 --file ledger.jsonl
    """
    from towpath.cli import rollout_replay

    return rollout_replay.replay(project, rollout, file, as_json=as_json)


@app.command()
def pause(reason: Reason, project: options.Project = None, by: By = None, as_json: options.Json = False) -> int:
    """Stop stepping, at the weight that it has; guardrails are judged all the same.

    Example: towpath rollout pause --by "Ada Lovelace" --reason "the airport is closed today"
    """
    return _order("pause", project, by, reason, as_json=as_json)


@app.command()
def resume(reason: Reason, project: options.Project = None, by: By = None, as_json: options.Json = False) -> int:
    """Go on after a pause or a hold; the holds in force then stop it no more. No evidence is reset.

    Example: towpath rollout resume --by "Ada Lovelace" --reason "the skew comes from one bot"
    """
    return _order("resume", project, by, reason, as_json=as_json)


@app.command()
def promote(reason: Reason, project: options.Project = None, by: By = None, as_json: options.Json = False) -> int:
    """Promote without waiting for the evidence, in your name. Harm still rolls it back.

    Example: towpath rollout promote --by "Ada Lovelace" --reason "the old model is wrong about snow"
    """
    return _order("promote", project, by, reason, as_json=as_json)


@app.command()
def rollback(reason: Reason, project: options.Project = None, by: By = None, as_json: options.Json = False) -> int:
    """Send every unit back to the old champion, at once.

    Example: towpath rollout rollback --by "Ada Lovelace" --reason "customers complain"
    """
    return _order("rollback", project, by, reason, as_json=as_json)


@app.command()
def abort(reason: Reason, project: options.Project = None, by: By = None, as_json: options.Json = False) -> int:
    """End a rollout that is not wanted any more. What ends without evidence is no pass.

    Example: towpath rollout abort --by "Ada Lovelace" --reason "a newer candidate is ready"
    """
    return _order("abort", project, by, reason, as_json=as_json)


@app.command()
def run(
    project: options.Project = None,
    interval: Annotated[float, typer.Option(min=0.1, max=600, help="Seconds between two ticks.")] = 15.0,
    until_end: Annotated[bool, typer.Option("--until-end", help="Leave when no rollout is open any more.")] = False,
    as_json: options.Json = False,
) -> int:
    """Be the controller: judge the evidence, step up, pull back, promote; renew the exposure lease.

    Needs the ledger's database and the prediction log. While MLflow is down it goes on, and shows the champion there
    later. Several controllers do no harm: of two decisions on one state, one is written.

    Example: towpath rollout run --interval 15
    """
    from towpath.cli import rollout_watch

    return rollout_watch.run(project, interval=interval, until_end=until_end, as_json=as_json)


@app.command()
def mirror(project: options.Project = None, as_json: options.Json = False) -> int:
    """Let MLflow show the champion that the ledger has: its alias, and the decision's hash as a tag.

    The controller does it by itself; this is for when MLflow was down, or somebody moved the alias.

    Example: towpath rollout mirror
    """
    from towpath.cli import asking
    from towpath.verbs import promotions

    found = asking.ask(promotions.ROLLOUT_MIRROR, promotions.Mirror(project=asking.one_project(project)))
    if as_json:
        output.emit(found.body)
    else:
        output.results().print(f"MLflow shows {found.champion} as the champion of {found.project}.", soft_wrap=True)
    return Exit.GOOD


def _order(what: str, project: str | None, by: str | None, reason: str, *, as_json: bool) -> int:
    from towpath.cli import asking
    from towpath.core.rollout_decision import Order
    from towpath.verbs import rollouts

    asked = rollouts.OrderRollout(project=asking.one_project(project), reason=reason)
    done = asking.ask(rollouts.ORDERING[Order(what)], asked, by=by)
    if as_json:
        output.emit(done.body)
    else:
        weight = f"the challenger answers {done.weight_after / 100:g} % of units"
        output.results().print(f"{done.rollout_id} is {done.to_state}: {weight}.", soft_wrap=True)
    return Exit.GOOD


def _thresholds(given: Sequence[str]) -> dict[str, float]:
    found = {}
    for text in given:
        name, _, number = text.partition("=")
        try:
            found[name.strip()] = float(number)
        except ValueError as error:
            raise BadInput(f"{text!r} is no threshold.", value=text, hint="Write --threshold latency=12.5.") from error
    return found
