"""What the command line writes: results on stdout, everything else on stderr; errors in a panel, or as JSON.

Consoles are made when they are used, for whatever stdout and stderr are then.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from towpath.core.errors import IntegrityError, Problems, TowpathError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

_WIDTH = 160  # of what is not a terminal: a log, a file, a pipe
_COLOURS = {"PASS": "green", "INCONCLUSIVE": "yellow", "FAIL": "red", "ERROR": "red"}
_COLOURS |= {"PROMOTE": "green", "HOLD": "yellow", "REJECT": "red", "ROLLBACK": "yellow"}
_COLOURS |= {"ok": "green", "warn": "yellow", "fail": "red"}


def results() -> Console:
    """The console for what was asked for."""
    return _console(sys.stdout)


def messages() -> Console:
    """The console for people: progress, hints, errors."""
    return _console(sys.stderr)


def _console(file: TextIO) -> Console:
    from rich.console import Console

    width = None if file.isatty() or "COLUMNS" in os.environ else _WIDTH
    return Console(file=file, width=width, highlight=False, markup=False, emoji=False)


def emit(document: Mapping[str, Any] | Sequence[Any]) -> None:
    """Write one JSON document to stdout."""
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False, default=str) + "\n")
    sys.stdout.flush()


@contextlib.contextmanager
def libraries_on_stderr() -> Iterator[None]:
    """Whatever libraries print while working goes to stderr: stdout is for results."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


def table(*columns: str, title: str | None = None, right: Sequence[str] = ()) -> Table:
    """A table in the house's look. Columns in `right` hold numbers; nothing is ever cut off."""
    from rich import box
    from rich.table import Table

    made = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return made


def badge(word: str) -> RenderableType:
    """An outcome, a verdict or a state, in its colour."""
    from rich.text import Text

    return Text(word, style=_COLOURS.get(word, ""))


def size(count: int) -> str:
    """Bytes for people."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:,.0f} {unit}" if unit == "B" else f"{value:,.1f} {unit}"
        value /= 1000
    return f"{value:,.1f} TB"


def error(found: TowpathError, *, as_json: bool) -> None:
    """Say what went wrong, what would be valid, and what to do."""
    if as_json:
        emit({"error": described(found)})
        return
    problems = found.problems if isinstance(found, Problems) else (found,)
    title = f"{len(problems)} problems" if len(problems) > 1 else problems[0].code
    _say(title, [_sentences(problem) for problem in problems])


def usage(found: Any, *, as_json: bool) -> None:
    """Say what is wrong with the command that was typed."""
    context = getattr(found, "ctx", None)
    hint = f"See {context.command_path} --help." if context is not None else "See towpath --help."
    message = " ".join(found.format_message().split())
    if as_json:
        emit({"error": {"code": "usage", "message": message, "hint": hint}})
        return
    _say("usage", [[message, hint]])


def bug(found: BaseException, *, as_json: bool) -> None:
    """Say that it is our fault, in one sentence."""
    message = f"{type(found).__name__}: {found}"
    hint = "This is a defect of Towpath, not of your project. `towpath --debug …` shows where it happened."
    if as_json:
        emit({"error": {"code": "unexpected", "message": message, "hint": hint}})
        return
    _say("unexpected", [[message, hint]])


def described(found: TowpathError) -> dict[str, Any]:
    """An error as JSON."""
    document: dict[str, Any] = {
        "code": found.code,
        "message": found.message,
        "value": None if found.value is None else str(found.value),
        "valid": list(found.valid),
        "hint": found.hint,
        "temporary": found.temporary,
    }
    if isinstance(found, IntegrityError):
        document["gate"] = found.gate
    if isinstance(found, Problems):
        document["problems"] = [described(problem) for problem in found.problems]
    return document


def _sentences(problem: TowpathError) -> list[str]:
    valid = [f"Valid: {', '.join(problem.valid)}."] if problem.valid else []
    return [problem.message, *valid, *([problem.hint] if problem.hint else [])]


def _say(title: str, paragraphs: Sequence[Sequence[str]]) -> None:
    """A panel on a terminal, plain lines elsewhere: a log has no use for borders."""
    console = messages()
    if not console.is_terminal:
        for paragraph in paragraphs:
            console.print("\n  ".join([f"{title}: {paragraph[0]}", *paragraph[1:]]), soft_wrap=True)
        return
    from rich.panel import Panel
    from rich.text import Text

    text = Text("\n").join(
        Text("\n").join([Text(paragraph[0]), *(Text(line, style="dim") for line in paragraph[1:])])
        for paragraph in paragraphs
    )
    console.print(Panel(text, title=title, title_align="left", border_style="red"))
