"""`towpath ledger at`"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from towpath.cli import options, output
from towpath.cli.exits import Exit

if TYPE_CHECKING:
    from rich.tree import Tree

    from towpath.stages.timeline import Served, Word

_LINE = "%Y-%m-%d %H:%M:%S"


def at(
    time: Annotated[datetime, typer.Argument(metavar="TIME", formats=options.TIMES, help="A time, in UTC.")],
    project: options.Project = None,
    as_json: options.Json = False,
) -> int:
    """What served at a time: by whose decision, on which evidence, who had agreed, which rollout was under way.

    Example: towpath ledger at 2026-06-30T12:00 delays
    """
    from towpath.cli import asking
    from towpath.verbs import custody

    found = asking.ask(custody.LEDGER_AT, custody.AskServed(time=time, project=asking.project(project))).served
    if as_json:
        output.emit([item.model_dump(mode="json") for item in found])
        return Exit.GOOD
    for item in found:
        output.results().print(_drawn(item))
    return Exit.GOOD


def _drawn(found: Served) -> Tree:
    from rich.text import Text
    from rich.tree import Tree

    tree = Tree(Text.assemble((found.project, "bold"), f" at {found.at:{_LINE}} UTC"))
    if found.decision is None:
        tree.add("nothing served: no champion was ever made until then")
    else:
        model = tree.add(Text.assemble((found.candidate or "?", "bold"), f", version {found.version or '?'}"))
        model.add(f"model {found.model}")
        model.add(f"{found.decision.what} {_said(found.decision)}")
        agreed = model.add(
            f"approvals: {len(found.approvals)}" if found.approvals else "no approval was needed or cited"
        )
        for word in found.approvals:
            agreed.add(_said(word))
        if found.emergency:
            model.add(Text(f"emergency {found.emergency}", style="red"))
        evidence = model.add("on this evidence")
        for item in found.evidence:
            evidence.add(f"{item.stage:<10} {item.outcome:<12} record {item.record}, {item.by}, {item.at:{_LINE}}")
    if found.rollout is not None:
        rollout = tree.add(f"rollout {found.rollout.rollout_id}, {found.rollout.phase}, step {found.rollout.step}")
        share = found.rollout.weight / 100  # from basis points
        rollout.add(f"{100 - share:g} % {found.rollout.champion}")
        rollout.add(f"{share:g} % {found.rollout.challenger}")
        rollout.add(f"{found.rollout.decision.what} {_said(found.rollout.decision)}")
    return tree


def _said(word: Word) -> str:
    how = f" ({word.via})" if word.via else ""
    reason = f": {word.reason}" if word.reason else ""
    return f"by {word.by}{how}, {word.at:{_LINE}}, record {word.record}{reason}"
