"""Asking for a verb: at the server that TOWPATH_SERVER names, or here, in the embedded installation.

Either way the same request, the same document and the same errors; what a command prints, it prints from the document.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from towpath.cli import opening, output
from towpath.core import names
from towpath.core.errors import NotFound

if TYPE_CHECKING:
    from towpath.core.identity import Identity
    from towpath.project import Project
    from towpath.settings import Settings
    from towpath.verbs.desk import Desk
    from towpath.verbs.verb import Document, Request, Verb

    Asked = TypeVar("Asked", bound=Request)
    Answered = TypeVar("Answered", bound=Document)


def ask(
    verb: Verb[Asked, Answered],
    asked: Asked,
    *,
    by: str | None = None,
    here: Project | None = None,
    make: bool = False,
) -> Answered:
    """The verb's document. `here`: the model project's folder, where the command was given one; no server needs it.

    `make`: an embedded ledger that is not there is made. Raises what the verb raises, wherever it is done.
    """
    settings = opening.settings()
    if settings.server is not None:
        from towpath.cli import remote

        return remote.ask(settings, verb, asked, by=by)
    return _embedded(settings, verb, asked, by=by, here=here, make=make)


def look(perform: Callable[[Asked, Desk], Answered], asked: Asked) -> Answered:
    """What reading the embedded files says, whoever asks: nothing is changed by it."""
    from towpath.core.identity import claimed
    from towpath.verbs.desk import Office

    settings = opening.settings()
    opening.require_ledger(settings)
    with output.libraries_on_stderr(), closing(Office.open(settings, served=False)) as office:
        return perform(asked, office.desk(claimed(settings.actor)))


def project(given: str | None) -> str | None:
    """The project that a person means: a folder's, or one by its name; the working directory's without a word."""
    settings = opening.settings()
    if settings.server is None:
        with opening.ledger(settings) as ledger:
            return opening.project_name(given, ledger)
    declared = opening.declared(Path(given or ".") / names.CHARTER_FILE)
    return declared or given


def one_project(given: str | None) -> str:
    """The one project that is meant: as `project`, or the only one there is. Raises `NotFound`."""
    from towpath.verbs import candidates

    if (named := project(given)) is not None:
        return named
    known = [row.project for row in ask(candidates.PROJECTS, candidates.ListProjects()).projects]
    if len(known) != 1:
        raise NotFound(
            f"The ledger has {len(known)} projects; which one is meant is not said.",
            valid=known,
            hint="Name it, or go to its folder.",
        )
    return known[0]


def rollout(given: str | None, rollout_id: str | None) -> str:
    """The id of a rollout: the one that is named, else the project's open one, else its last. Raises `NotFound`."""
    from towpath.verbs import rollouts

    if rollout_id is not None:
        return rollout_id
    name = one_project(given)
    found = ask(rollouts.ROLLOUTS, rollouts.ListRollouts(project=name)).rollouts
    if not found:
        raise NotFound(
            f"Project {name} has had no rollout.",
            value=name,
            hint='Start one: towpath rollout start CANDIDATE --by "…" --reason "…".',
        )
    return str(found[0]["rollout_id"])


def folder(given: Path) -> Project | None:
    """The model project in that folder. A server needs none: there it is None."""
    from towpath.project import load

    return None if opening.settings().server is not None else load(given)


def _embedded(
    settings: Settings,
    verb: Verb[Asked, Answered],
    asked: Asked,
    *,
    by: str | None,
    here: Project | None,
    make: bool,
) -> Answered:
    from towpath import wiring
    from towpath.verbs.desk import Office

    if make:
        wiring.prepare(settings)
    else:
        opening.require_ledger(settings)
    identity = _who(settings, verb, by)
    with output.libraries_on_stderr(), closing(Office.open(settings, served=False)) as office:
        return verb.carry_out(asked, office.desk(identity, here=here))


def _who(settings: Settings, verb: Verb[Asked, Answered], by: str | None) -> Identity:
    """Who acts. Reading embedded files needs nobody's name."""
    from towpath.core.access import MATRIX, Action
    from towpath.core.identity import claimed

    if verb.action is None or verb.action is Action.READ:
        return claimed(settings.actor)
    return opening.who(settings, by, named=MATRIX[verb.action].persons)
