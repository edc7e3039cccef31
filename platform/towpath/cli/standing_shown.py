"""Who agreed to a candidate, who is still missing, and what does not count and why, as a terminal shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from towpath.cli import output
from towpath.core.approvals import Given, Standing
from towpath.core.waivers import Granted
from towpath.verbs.approvals import Emergency

if TYPE_CHECKING:
    from towpath.verbs.candidates import Shown


def read(said: Mapping[str, Any] | None) -> Standing | None:
    """A standing from its document."""
    if said is None:
        return None
    return Standing.model_validate({name: said[name] for name in Standing.model_fields})


def drawn(found: Shown) -> None:
    """All that people said about a candidate."""
    if (standing := read(found.approvals)) is not None:
        draw(standing)
    draw_waivers([Granted.model_validate(one) for one in found.waivers])
    if found.emergencies:
        draw_emergencies([Emergency.model_validate(one) for one in found.emergencies])


def brief(found: Standing | None) -> str:
    """A cell: `0/2 agreed`, or nothing where nobody has to agree."""
    if found is None or (found.met and not found.needed):
        return ""
    return f"{len(found.counted)}/{found.needed} agreed"


def draw(found: Standing | None) -> None:
    """Who agreed: a line that says how it stands, and a row for every approval, those that do not count with why."""
    from rich.text import Text

    if found is None:
        return
    console = output.results()
    console.print(Text(f"Approvals: {headline(found)}", style="green" if found.met else "yellow"), soft_wrap=True)
    for sentence in found.missing:
        console.print(f"  missing: {sentence}", soft_wrap=True)
    given = sorted((*found.counted, *found.discounted), key=lambda one: one.sequence)
    if not given:
        return
    table = output.table("record", "counts", "who", "role", "given", "until", "why", right=["record"])
    for one in given:
        table.add_row(str(one.sequence), *_row(one))
    console.print(table)


def headline(found: Standing) -> str:
    """How it stands, in a few words."""
    required = found.requirement
    if required is None:
        return "not known which it needs"
    if not found.needed:
        return f"none needed (risk {required.risk.value})"
    roles = " or ".join(required.roles)
    extra = " and one platform-admin, since the policy is weakened" if found.weakened else ""
    if not required.count:
        return f"{len(found.counted)} of 1, by a platform-admin, since the policy is weakened"
    return f"{len(found.counted)} of {found.needed}, by {roles} (risk {required.risk.value}){extra}"


def draw_waivers(found: Sequence[Granted]) -> None:
    """Every waiver, those that cover nothing with the reason."""
    if not found:
        return
    table = output.table("record", "holds", "gate", "subject", "who", "until", "why", title="Waivers", right=["record"])
    for one in found:
        why = one.why or one.reason
        table.add_row(
            str(one.sequence), _mark(not one.why), one.code, one.subject, one.author, _minute(one.expires), why
        )
    output.results().print(table)


def draw_emergencies(found: Sequence[Emergency]) -> None:
    """Every emergency: who opened and confirmed it, and whether its follow-up is written."""
    table = output.table("emergency", "state", "candidate", "opened by", "confirmed by", "why", "follow-up")
    for one in found:
        table.add_row(
            one.emergency,
            _state(one),
            one.candidate,
            f"{one.opened.who.person}, {_minute(one.opened.at)}",
            f"{one.confirmed.who.person}, {_minute(one.confirmed.at)}" if one.confirmed else "",
            one.opened.text,
            f"{one.followed_up.who.person}: {one.followed_up.text}" if one.followed_up else "",
        )
    output.results().print(table)


def _row(one: Given) -> tuple[Any, ...]:
    who = one.person if one.account == one.person else f"{one.person} ({one.account})"
    why = one.why or one.reason + (" (knows that the policy is weakened)" if one.policy_change else "")
    return _mark(not one.why), who, ", ".join(one.roles), _minute(one.at), _minute(one.until), why


def _mark(good: bool) -> Any:
    from rich.text import Text

    return Text("yes", style="green") if good else Text("no", style="red")


def _state(one: Emergency) -> Any:
    from rich.text import Text

    return Text(one.state, style="red" if one.state == "follow-up missing" else "")


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}"
