"""The demo's people: who submits, who approves, and the tokens by which they are known. Made once, and found again."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from towpath import wiring
from towpath.cli import opening
from towpath.core.errors import Denied
from towpath.core.identity import EVERY_PROJECT, Identity, Kind, Proof, Role, claimed
from towpath.ports import TokenGrant, Tokens
from towpath.settings import Settings

ADMIN, ADA, GRACE, CONTROLLER = "admin", "ada", "grace", "controller"
_HOLDS: Final = timedelta(days=3650)


@dataclass(frozen=True, kw_only=True)
class _Part:
    """One part to be played: whose it is, and what they may in every project."""

    person: str
    role: Role
    kind: Kind = Kind.PERSON


_PARTS: Final[Mapping[str, _Part]] = {
    ADMIN: _Part(person="Katherine Johnson", role=Role.PLATFORM_ADMIN),
    ADA: _Part(person="Ada Lovelace", role=Role.DATA_SCIENTIST),
    GRACE: _Part(person="Grace Hopper", role=Role.RELEASE_MANAGER),
    CONTROLLER: _Part(person="controller", role=Role.AUTOMATION, kind=Kind.SERVICE),
}


@dataclass(frozen=True, kw_only=True)
class People:
    """Ada submits, Grace approves and promotes, the controller ticks; Katherine made their tokens."""

    admin: Identity
    ada: Identity
    grace: Identity
    controller: Identity
    folder: Path

    def token(self, name: str) -> Path:
        """The file that holds somebody's token."""
        return self.folder / name


def people(settings: Settings) -> People:
    """The demo's people, by the tokens in the state folder's `demo/tokens`; they are made where they are missing.

    Raises `Denied` in an installation that asks for tokens and has none of the demo's: they are not the demo's to make.
    """
    folder = settings.state / "demo" / "tokens"
    with closing(wiring.open_tokens(settings)) as tokens:
        admin = _known(folder / ADMIN, tokens) or _first(settings, folder, tokens)
        found = {
            name: _known(folder / name, tokens) or _made(name, folder, tokens, admin)
            for name in (ADA, GRACE, CONTROLLER)
        }
    return People(admin=admin, ada=found[ADA], grace=found[GRACE], controller=found[CONTROLLER], folder=folder)


def second_account(settings: Settings, admin: Identity, person: Identity) -> Identity:
    """Another account of the same person, in a role that may approve: what somebody would ask for to walk around."""
    grant = TokenGrant(
        person=person.person,
        account=f"{person.account}-release",
        kind=Kind.PERSON,
        grants={EVERY_PROJECT: frozenset({Role.RELEASE_MANAGER})},
        expires_at=wiring.now() + timedelta(days=1),
    )
    with closing(wiring.open_tokens(settings)) as tokens:
        token, _ = tokens.create(grant, by=admin)
    return token.identity()


def _known(file: Path, tokens: Tokens) -> Identity | None:
    return tokens.identify(file.read_text(encoding="utf-8").strip()) if file.is_file() else None


def _first(settings: Settings, folder: Path, tokens: Tokens) -> Identity:
    """The admin: by the claimed name while the installation is open, else by whoever runs the demo, if they may."""
    by = claimed(_PARTS[ADMIN].person)
    if tokens.any() or wiring.open_provider(settings) is not None:
        by = opening.who(settings)
        if by.proof is Proof.CLAIMED or Role.PLATFORM_ADMIN not in by.roles(EVERY_PROJECT):
            raise Denied(
                "This installation has tokens of its own; the demo makes itself people, which takes a platform admin.",
                value=by.person,
                hint="Run it in a state folder of its own: TOWPATH_STATE=demo towpath demo.",
            )
    return _made(ADMIN, folder, tokens, by)


def _made(name: str, folder: Path, tokens: Tokens, by: Identity) -> Identity:
    part = _PARTS[name]
    grant = TokenGrant(
        person=part.person,
        account=name,
        kind=part.kind,
        grants={EVERY_PROJECT: frozenset({part.role})},
        expires_at=wiring.now() + _HOLDS,
    )
    token, secret = tokens.create(grant, by=by)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = folder / name
    file.touch(mode=0o600, exist_ok=True)
    file.write_text(secret + "\n", encoding="utf-8")
    return token.identity()
