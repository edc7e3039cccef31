"""`towpath token`"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from towpath.cli import options, output
from towpath.cli.exits import Exit
from towpath.core.errors import BadInput, Unwritable

if TYPE_CHECKING:
    from datetime import datetime

    from towpath.ports import Token
    from towpath.settings import Settings

app = typer.Typer(help="Make, list and revoke the tokens that prove who acts.", no_args_is_help=True)

By = Annotated[
    str | None,
    typer.Option("--by", metavar="NAME", help="Who decides, where no token says it; TOWPATH_ACTOR when left out."),
]
_LONGEST = timedelta(days=366)
_SOON = timedelta(days=14)


@app.command()
def create(
    person: Annotated[
        str, typer.Option(metavar="NAME", help="Who will act with it: the same name for all accounts of a person.")
    ],
    role: Annotated[
        list[str], typer.Option(metavar="ROLE[@PROJECT]", help="What they are, in one project or in all; repeatable.")
    ],
    account: Annotated[
        str | None, typer.Option(metavar="NAME", help="The account; the person's name when left out.")
    ] = None,
    service: Annotated[bool, typer.Option("--service", help="For a program: it is automation, or looks on.")] = False,
    expires: Annotated[str, typer.Option(metavar="DURATION", help="How long it holds, at most 366d.")] = "90d",
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it to a new file that only you can read.")
    ] = None,
    by: By = None,
    as_json: options.Json = False,
) -> int:
    """Make a token and print it, this once. The first one closes the installation: then nothing is changed without one.

    Example: towpath token create --person "Ada Lovelace" --role release-manager@flights --out ada.token
    """
    from towpath import wiring
    from towpath.cli import opening
    from towpath.core.access import Action
    from towpath.core.grants import granted
    from towpath.core.identity import Kind
    from towpath.ports import TokenGrant

    settings, lasts, now = opening.settings(), _duration(expires), wiring.now()
    grants = granted(role)
    identity = opening.acting(settings, by, Action.TOKEN_CREATE)
    wanted = TokenGrant(
        person=person,
        account=account or person,
        kind=Kind.SERVICE if service else Kind.PERSON,
        grants=grants,
        expires_at=now + lasts,
    )
    with _open(settings) as tokens, _NewFile(out) as file:
        first = not tokens.any()
        token, text = tokens.create(wanted, by=identity, provider=settings.oidc_issuer is not None)
        file.write(text)
    if as_json:
        told = {"file": str(out.absolute())} if out is not None else {"token": text}
        output.emit({**_document(token, now), **told})
        return Exit.GOOD
    if out is None:
        output.results().print(text, soft_wrap=True)
    say = output.messages()
    say.print(_made(token) + (f" It is in {out}." if out else " It is shown this once."), soft_wrap=True)
    if first:
        say.print(
            "It is the first: from now on every change needs a token in TOWPATH_TOKEN, and --by alone is refused.",
            style="yellow",
            soft_wrap=True,
        )
    return Exit.GOOD


@app.command("list")
def listed(by: By = None, as_json: options.Json = False) -> int:
    """List every token that was ever made: whose it is, what it may, until when. Secrets are not kept.

    Example: towpath token list
    """
    from towpath import wiring
    from towpath.cli import opening
    from towpath.core.access import Action
    from towpath.core.grants import written

    settings, now = opening.settings(), wiring.now()
    opening.acting(settings, by, Action.TOKEN_LIST)
    with _open(settings) as tokens:
        found = tokens.all()
    if as_json:
        output.emit([_document(token, now) for token in found])
        return Exit.GOOD
    table = output.table("token", "person", "account", "kind", "grants", "issued by", "expires", "state")
    for token in found:
        row = [token.token_id, token.person, token.account, token.kind.value, ", ".join(written(token.grants))]
        table.add_row(*row, token.issued_by, f"{token.expires_at:%Y-%m-%d %H:%M}", _state(token, now))
    output.results().print(table if found else "No token was ever made: names are taken as they are given.")
    if found and settings.oidc_issuer is None and not _admins(found, now + _SOON):
        output.messages().print(
            "In two weeks no platform admin has a token that holds: make one before, nobody could then.",
            style="yellow",
            soft_wrap=True,
        )
    return Exit.GOOD


@app.command()
def revoke(
    token_id: Annotated[str, typer.Argument(metavar="ID", help="The token's id, as `towpath token list` shows it.")],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, in a few words; it is recorded.")],
    by: By = None,
    as_json: options.Json = False,
) -> int:
    """Let a token prove nothing any more, from the next command on.

    Example: towpath token revoke 3f2a91c07d5e --reason "it was in a public log"
    """
    from towpath import wiring
    from towpath.cli import opening
    from towpath.core.access import Action

    settings = opening.settings()
    identity = opening.acting(settings, by, Action.TOKEN_REVOKE)
    with _open(settings) as tokens:
        provider = settings.oidc_issuer is not None
        token = tokens.revoke(token_id, by=identity, reason=reason, provider=provider)
    if as_json:
        output.emit(_document(token, wiring.now()))
    else:
        output.results().print(f"Token {token.token_id} of {token.person} is revoked.", soft_wrap=True)
    return Exit.GOOD


def _open(settings: Settings) -> Any:
    from contextlib import closing

    from towpath import wiring

    return closing(wiring.open_tokens(settings))


def _duration(text: str) -> timedelta:
    from pydantic import TypeAdapter, ValidationError

    from towpath.core.declaration import Duration

    try:
        found: timedelta = TypeAdapter(Duration).validate_python(text)
    except ValidationError as error:
        raise BadInput(f"{text!r} is no duration.", value=text, hint="Write --expires 90d, or 12h.") from error
    if not timedelta() < found <= _LONGEST:
        raise BadInput(
            f"A token cannot hold for {text}.",
            value=text,
            valid=["1s to 366d"],
            hint="Make another before it ends: rotation is `towpath token create`, then `towpath token revoke`.",
        )
    return found


class _NewFile:
    """A file that only its owner can read, made before the token is; gone again when no token was made."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._written = False

    def __enter__(self) -> Self:
        if self._path is not None:
            try:
                self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            except OSError as error:
                raise Unwritable(
                    f"{self._path} cannot be made: {error.strerror}.",
                    value=str(self._path),
                    hint="Name a file that is not there yet, in a folder you may write to.",
                ) from error
        return self

    def write(self, text: str) -> None:
        if self._path is not None:
            os.write(self._file, f"{text}\n".encode("ascii"))
            self._written = True

    def __exit__(self, *_: object) -> None:
        if self._path is not None:
            os.close(self._file)
            if not self._written:
                self._path.unlink()


def _made(token: Token) -> str:
    from towpath.core.grants import written

    whose = token.person if token.account == token.person else f"{token.person} ({token.account})"
    may = ", ".join(written(token.grants))
    return f"Token {token.token_id} of {whose}: {may}, until {token.expires_at:%Y-%m-%d %H:%M} UTC."


def _state(token: Token, now: datetime) -> str:
    if token.revoked_at is not None:
        return "revoked"
    return "expired" if now >= token.expires_at else "holds"


def _admins(found: tuple[Token, ...], at: datetime) -> bool:
    return any(token.administers and _state(token, at) == "holds" for token in found)


def _document(token: Token, now: datetime) -> dict[str, Any]:
    from towpath.core.grants import written

    return {
        "id": token.token_id,
        "person": token.person,
        "account": token.account,
        "kind": token.kind.value,
        "grants": written(token.grants),
        "issued_by": token.issued_by,
        "created_at": token.created_at.isoformat(),
        "expires_at": token.expires_at.isoformat(),
        "revoked_at": token.revoked_at.isoformat() if token.revoked_at else None,
        "state": _state(token, now),
    }
