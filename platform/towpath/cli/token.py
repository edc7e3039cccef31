"""`towpath token`"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

import typer

from towpath.cli import options, output
from towpath.cli.exits import Exit
from towpath.core.errors import BadInput, Unwritable

if TYPE_CHECKING:
    from towpath.verbs.installation import TokenRow

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
    from towpath.cli import asking
    from towpath.core.identity import Kind
    from towpath.verbs import installation

    wanted = installation.CreateToken(
        person=person,
        account=account,
        kind=Kind.SERVICE if service else Kind.PERSON,
        grants=role,
        expires=_duration(expires),
    )
    with _NewFile(out) as file:
        made = asking.ask(installation.TOKEN_CREATE, wanted, by=by, make=True)
        file.write(str(made.token))
    if as_json:
        told = {"file": str(out.absolute())} if out is not None else {"token": made.token}
        output.emit({**{name: value for name, value in made.body.items() if name not in ("token", "first")}, **told})
        return Exit.GOOD
    if out is None:
        output.results().print(made.token, soft_wrap=True)
    say = output.messages()
    say.print(_made(made) + (f" It is in {out}." if out else " It is shown this once."), soft_wrap=True)
    if made.first:
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
    from towpath.cli import asking
    from towpath.verbs import installation

    found = asking.ask(installation.TOKEN_LIST, installation.ListTokens(), by=by, make=True)
    if as_json:
        output.emit([token.body for token in found.tokens])
        return Exit.GOOD
    table = output.table("token", "person", "account", "kind", "grants", "issued by", "expires", "state")
    for token in found.tokens:
        row = [token.id, token.person, token.account, token.kind, ", ".join(token.grants)]
        table.add_row(*row, token.issued_by, token.expires_at[:16].replace("T", " "), token.state)
    output.results().print(table if found.tokens else "No token was ever made: names are taken as they are given.")
    if found.tokens and not found.provider and not _admins(found.tokens, wiring.now() + _SOON):
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
    from towpath.cli import asking
    from towpath.verbs import installation

    token = asking.ask(
        installation.TOKEN_REVOKE, installation.RevokeToken(token=token_id, reason=reason), by=by, make=True
    )
    if as_json:
        output.emit(token.body)
    else:
        output.results().print(f"Token {token.id} of {token.person} is revoked.", soft_wrap=True)
    return Exit.GOOD


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


def _made(token: TokenRow) -> str:
    whose = token.person if token.account == token.person else f"{token.person} ({token.account})"
    until = token.expires_at[:16].replace("T", " ")
    return f"Token {token.id} of {whose}: {', '.join(token.grants)}, until {until} UTC."


def _admins(found: Sequence[TokenRow], at: datetime) -> bool:
    """Whether somebody can make tokens then."""
    from towpath.core.identity import Role

    return any(
        token.kind == "person"
        and Role.PLATFORM_ADMIN.value in token.grants
        and token.revoked_at is None
        and at < datetime.fromisoformat(token.expires_at)
        for token in found
    )
