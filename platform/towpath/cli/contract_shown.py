"""What `towpath contract diff` says, for people and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from towpath.cli import output
from towpath.core.contract_changes import Comparison
from towpath.core.contract_evolution import Pair
from towpath.core.evidence import Outcome

if TYPE_CHECKING:
    from towpath.cli.contract_compared import Compared
    from towpath.stages.consumers import Consumers
    from towpath.verbs.lineage import ConsumersFound


def document(compared: Compared) -> dict[str, Any]:
    """Of two files their one comparison; of a project every contract that differs, and what the path would say."""
    found = [_document(one, difference) for one, difference in compared.differences]
    if compared.project is None:
        return {**found[0], "as_of": compared.as_of.isoformat()}
    return {
        "project": compared.project,
        "champion": compared.champion,
        "as_of": compared.as_of.isoformat(),
        "contracts": [
            {"contract": one.after.id, **told}
            for (one, _), told in zip(compared.differences, found, strict=True)
        ],
        "findings": [finding.model_dump(mode="json") for finding in compared.findings],
    }  # fmt: skip


def _document(one: Pair, found: Comparison) -> dict[str, Any]:
    return {
        "old": one.before.version,
        "new": one.after.version,
        "bump": found.bump.value,
        "least": str(found.least),
        "enough": found.enough,
        "changes": [asdict(change) for change in found.changes],
    }


def show(compared: Compared) -> None:
    """Each contract's changes, and what refuses them."""
    console = output.results()
    if compared.project is None:
        _show(compared.differences[0][1])
        return
    if compared.champion is None:
        console.print(f"{compared.project} has no champion, so nothing was made by other contracts.", soft_wrap=True)
        return
    for one, found in compared.differences:
        console.print(f"{one.after.id}, since the champion {compared.champion}:", soft_wrap=True)
        _show(found)
    if not compared.pairs:
        console.print(f"Nothing differs from the contracts of the champion {compared.champion}.", soft_wrap=True)
    refused = [one for one in compared.findings if one.outcome is not Outcome.PASS]
    if refused:
        console.print("`towpath run` refuses:", soft_wrap=True)
    for finding in refused:
        console.print(f"  {finding.outcome} ({finding.subject}): {finding.reason}", soft_wrap=True)


def show_consumers(told: Sequence[Consumers]) -> None:
    """Who reads each changed column."""
    console = output.results()
    if not told:
        console.print("No column changes that anything could read.")
        return
    table = output.table("column", "read by", "models", "endpoints")
    for one in told:
        reads = f"cannot be told: {one.untold}" if one.untold else ", ".join(one.reads) or "nothing"
        table.add_row(one.column, reads, ", ".join(one.models) or "none", "\n".join(one.endpoints) or "none")
    console.print(table)


def show_standing(found: ConsumersFound) -> None:
    """Who stands on a table, over the projects that may be read."""
    console = output.results()
    if found.consumers:
        table = output.table("model", "is", "inputs", "feature views", "endpoints")
        for one in found.consumers:
            inputs = ", ".join(one.inputs) or "none of that name"
            views, answers = ", ".join(one.views) or "none", "\n".join(one.endpoints) or "none"
            table.add_row(one.model, one.standing, inputs, views, answers)
        console.print(table)
    else:
        console.print(f"No registered model was made from a table {found.table}.", soft_wrap=True)
    if found.hidden:
        console.print("There are projects that you may not read; they are left out.", soft_wrap=True)


def _show(found: Comparison) -> None:
    console = output.results()
    if found.changes:
        table = output.table("class", "where", "what", "why")
        for change in found.changes:
            table.add_row(change.impact.value, change.where, change.what, change.reason)
        console.print(table)
    else:
        console.print("Nothing differs.")
    if found.enough:
        console.print(f"Version {found.after} is enough: at least {found.least} is needed.", soft_wrap=True)
    else:
        console.print(
            f"Version {found.after} is too low after {found.before}: the changes need a {found.bump} bump, "
            f"at least {found.least}.",
            soft_wrap=True,
        )
