"""What every `towpath rollout` command opens: the ledger's database and the prediction log, for one project."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from towpath.cli import opening
from towpath.core.errors import NotFound

if TYPE_CHECKING:
    from towpath.core.access import Action
    from towpath.core.identity import Identity
    from towpath.ports import Ledger
    from towpath.settings import Settings
    from towpath.stages.canary import CanaryPorts


def open_canary(settings: Settings, *, identity: Identity | None = None) -> CanaryPorts:
    """The controller's ports; close them after use. `identity`: who acts, else the settings' actor does."""
    from towpath import wiring
    from towpath.stages.canary import CanaryPorts

    via = identity.via if identity is not None else None
    ledger = wiring.open_ledger(settings, via=via)
    try:
        return CanaryPorts(
            ledger=ledger,
            rollouts=wiring.open_rollouts(settings, via=via),
            evidence=wiring.open_evidence(settings),
            actor=identity.person if identity is not None else settings.actor,
            keys=wiring.open_keys(settings),
        )
    except BaseException:
        ledger.close()
        raise


@contextmanager
def opened(settings: Settings, *, identity: Identity | None = None) -> Iterator[CanaryPorts]:
    """The controller's ports, of a ledger that is there: one that is not is not made."""
    with opening.ledger(settings):
        ports = open_canary(settings, identity=identity)
    try:
        yield ports
    finally:
        ports.close()


def acting_in(settings: Settings, project: str | None, by: str | None, action: Action) -> tuple[str, Identity]:
    """The project that is meant, and who acts in it, if they may. Raises what `opening.acting` raises."""
    with opening.ledger(settings) as ledger:
        name = project_of(project, ledger)
    return name, opening.acting(settings, by, action, name)


def project_of(given: str | None, ledger: Ledger) -> str:
    """The one project that is meant: a folder's, a name's, the working directory's, or the only one there is."""
    named = opening.project_name(given, ledger)
    if named is not None:
        return named
    known = opening.projects(ledger)
    if len(known) != 1:
        raise NotFound(
            f"The ledger has {len(known)} projects; which one is meant is not said.",
            valid=known,
            hint="Name it, or go to its folder.",
        )
    return known[0]
