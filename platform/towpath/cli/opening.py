"""Settings, the ledger, and the names that people give to projects and candidates."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from towpath.core import names
from towpath.core.errors import BadInput, NotFound
from towpath.core.identity import EVERY_PROJECT, Identity
from towpath.settings import Settings

if TYPE_CHECKING:
    from towpath.core.access import Action
    from towpath.core.evidence import Candidate
    from towpath.ports import Ledger
    from towpath.stages.access import Doors

_ID = re.compile(r"(?P<project>[a-z][a-z0-9_-]*)-(?P<digits>[0-9a-f]{4,64})")
_SQLITE = "sqlite:///"


def settings() -> Settings:
    """The settings of this process."""
    return Settings.read(os.environ, folder=Path.cwd())


def embedded_ledger(given: Settings) -> Path | None:
    """The ledger's file when it is one."""
    return Path(given.ledger.removeprefix(_SQLITE)) if given.ledger.startswith(_SQLITE) else None


@contextmanager
def doors(given: Settings) -> Iterator[Doors]:
    """What proof of who acts this installation takes. A ledger that is not there is not made: it holds no token."""
    from towpath import wiring
    from towpath.stages.access import Doors

    require_embedded(given)
    provider = wiring.open_provider(given)
    file = embedded_ledger(given)
    if file is not None and not file.exists():
        yield Doors(tokens=None, provider=provider)
        return
    with closing(wiring.open_tokens(given)) as tokens:
        yield Doors(tokens=tokens, provider=provider)


def who(given: Settings, by: str | None = None, *, named: bool = False) -> Identity:
    """Who acts: by TOWPATH_TOKEN; in an open installation by the name given, else TOWPATH_ACTOR, else the login name.

    `named`: the login name is not enough. Raises what `towpath.stages.access.identify` raises.
    """
    from towpath import wiring
    from towpath.cli import options
    from towpath.stages.access import identify

    said = (by or "").strip() or None
    if given.token is None:
        said = said or options.actor() or (None if named else given.actor)
    with doors(given) as opened:
        return identify(opened, given.token, claim=said, now=wiring.now())


def acting(given: Settings, by: str | None, action: Action, project: str = EVERY_PROJECT) -> Identity:
    """Who acts, if they may do that in that project: every command that changes anything begins here.

    Raises what `who` raises, and `Forbidden`, which is recorded.
    """
    from towpath import wiring
    from towpath.core.access import MATRIX, permits
    from towpath.stages.access import authorize

    identity = who(given, by, named=MATRIX[action].persons)
    if not permits(identity, action, project):
        with closing(wiring.open_ledger(given, via=identity.via)) as opened:
            authorize(identity, action, opened, project=project, now=wiring.now())
    return identity


@contextmanager
def ledger(given: Settings, *, identity: Identity | None = None) -> Iterator[Ledger]:
    """The ledger, for reading or a decision. One that is not there is not made: raises `NotFound`.

    `identity`: who writes, for how they are known to be recorded with what they write.
    """
    from towpath import wiring

    require_ledger(given)
    with closing(wiring.open_ledger(given, via=identity.via if identity is not None else None)) as opened:
        yield opened


def require_ledger(given: Settings) -> None:
    """Raises `NotFound` for an embedded ledger that is not there, and `BadInput` where a server has it."""
    require_embedded(given)
    file = embedded_ledger(given)
    if file is not None and not file.exists():
        raise NotFound(
            f"There is no ledger at {file}: nothing was run from here.",
            value=str(file),
            hint="Run `towpath run` or `towpath demo`, go to the folder where one was run, or set TOWPATH_STATE.",
        )


def require_embedded(given: Settings) -> None:
    """Raises `BadInput` where TOWPATH_SERVER is set: then this command would work on another ledger than the others."""
    if given.server is not None:
        raise BadInput(
            f"This works on data and files where they are, and is not sent to {given.server}.",
            value=given.server,
            hint="Run it on a worker: unset TOWPATH_SERVER there, and set TOWPATH_LEDGER and TOWPATH_OBJECTS.",
        )


def projects(opened: Ledger) -> list[str]:
    """The projects of which the ledger holds anything. What was refused in a project does not make it one."""
    from towpath.core.evidence import RecordKind

    refusals = RecordKind.ACCESS
    return sorted({record.project for record in opened.records() if record.kind is not refusals} - {EVERY_PROJECT})


def project_name(given: str | None, opened: Ledger) -> str | None:
    """The project that a person means: a folder's, or one of the ledger's by its name.

    Without a word it is the project of the working directory; None, which is all of them, where there is none.
    """
    folder = Path(given or ".")
    file = folder / names.CHARTER_FILE
    if file.is_file():
        return declared(file)
    if given is None:
        return None
    known = projects(opened)
    if given not in known:
        raise NotFound(
            f"{given!r} is neither a folder with a {names.CHARTER_FILE} nor a project of the ledger.",
            value=given,
            valid=known,
        )
    return given


def declared(file: Path) -> str | None:
    """The charter's project, and nothing else of it: a charter with a mistake still has a history."""
    if not file.is_file():
        return None
    import yaml

    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return None
    found = document.get("project") if isinstance(document, dict) else None
    return str(found) if found else None


def candidate(named: str, opened: Ledger) -> Candidate:
    """The candidate that a person names by its id or by at least 4 digits of its digest, in whatever project."""
    from towpath.core.evidence import RecordKind
    from towpath.stages.work import candidate_from

    digits = named.removeprefix("sha256:")
    records = list(opened.records(kind=RecordKind.ENTRY))
    projects = {record.project for record in records}
    match = _ID.fullmatch(named)
    if match is not None and match["project"] in projects:
        return candidate_from(opened, match["project"], named)
    fits = [
        record for record in records if len(digits) >= 4 and record.digest.removeprefix("sha256:").startswith(digits)
    ]
    if len(fits) != 1:
        raise NotFound(
            f"{named!r} names {'no' if not fits else 'more than one'} candidate.",
            value=named,
            valid=[record.candidate for record in fits],
            hint="`towpath status` lists them; give an id, or at least 4 digits of a digest.",
        )
    return candidate_from(opened, fits[0].project, digits)
