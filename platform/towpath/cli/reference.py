"""The pages of `docs/reference`, written from the code: `python -m towpath.cli.reference docs/reference`.

A page is made of what stands in the code: fields and their constraints, docstrings, gates, settings, error classes, the
commands' own help. A test holds the committed pages to what this module makes.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from towpath import ports
from towpath.cli.exits import Exit, exit_of
from towpath.cli.reference_api import api_page
from towpath.cli.reference_charter import charter_page
from towpath.cli.reference_markdown import page, prose, table
from towpath.core import charter, errors
from towpath.core.errors import TowpathError
from towpath.core.gates import GATES, Stage
from towpath.example.sabotage import SABOTAGES
from towpath.settings import VARIABLES

_PLAIN = {Exit.GOOD: "done", Exit.INTERRUPTED: "stopped by Ctrl-C"}


def pages() -> dict[str, str]:
    """Every page by its file name."""
    return {
        "charter.md": charter_page(),
        "charter.schema.json": json.dumps(charter.json_schema(), indent=2, ensure_ascii=False) + "\n",
        "gates.md": _gates(),
        "cli.md": _cli(),
        "api.md": api_page(),
        "settings.md": _settings(),
        "errors.md": _errors(),
        "ports.md": _ports(),
    }


def write(folder: Path) -> list[Path]:
    """Write every page into the folder; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, text in pages().items():
        file = folder / name
        file.write_text(text, encoding="utf-8")
        files.append(file)
    return files


# --- gates, settings, errors ------------------------------------------------------------------------------------------


def _gates() -> str:
    intro = (
        "Each gate is one question. A finding answers it with PASS, FAIL, INCONCLUSIVE or ERROR, and only PASS opens "
        "the gate. *Required*: no candidate is promoted unless the gate was asked. `towpath gates CODE` says the same "
        "in a terminal, `towpath show CANDIDATE --finding CODE` what it found on a candidate."
    )
    parts = []
    for stage in Stage:
        found = [gate for gate in GATES.values() if gate.stage is stage]
        rows = [[f"`{gate.code}`", gate.asks, gate.mend, "yes" if gate.required else ""] for gate in found]
        if rows:
            parts.append(f"## {stage.value}\n\n{table(['gate', 'asks', 'when it refuses', 'required'], rows)}")
    return page("Gates", intro, *parts)


def _settings() -> str:
    intro = (
        "Settings are environment variables. Without any, everything is embedded in one state folder. An unknown "
        "variable that begins with `TOWPATH_` is refused, so that a typing error cannot go unnoticed. Relative paths "
        "lie under the working directory. `towpath doctor` shows what each is and where it comes from, without "
        "passwords."
    )
    rows = [[f"`{item.name}`", item.about, item.default] for item in VARIABLES]
    return page("Settings", intro, table(["variable", "what it is", "default"], rows))


def error_classes() -> list[type[TowpathError]]:
    """Every class of error but their root."""
    found = [item for item in vars(errors).values() if isinstance(item, type) and issubclass(item, TowpathError)]
    return [item for item in found if item is not TowpathError]


def _errors() -> str:
    comments = dict(re.findall(r"^    (\w+) = \d+(?:  # (.*))?$", inspect.getsource(Exit), flags=re.MULTILINE))
    exits = [[str(item.value), item.name.lower(), comments[item.name] or _PLAIN[item]] for item in Exit]
    rows = [
        [f"`{kind.code}`", f"`{kind.__name__}`", prose(kind.__doc__), _yes(kind.temporary), str(_code(kind))]
        for kind in error_classes()
    ]
    intro = (
        "A gate's refusal is no error: it is a finding in the ledger, and the command ends with exit code 3. An error "
        "is the world's fault or a misuse. It names the value, the valid values where there are some, and what to do "
        "next; with `--json` it is a document with the keys `code`, `message`, `value`, `valid`, `hint` and "
        "`temporary`."
    )
    about = (
        "The classes live in `towpath.core.errors`. *Temporary*: trying again later can help; flows retry these and "
        "no others."
    )
    outro = (
        "Two more codes stand in JSON output only: `usage` for a command line that does not parse (exit code 2), and "
        "`unexpected` for a defect of Towpath (exit code 1; `towpath --debug` shows where it happened)."
    )
    return page(
        "Exit codes and errors",
        intro,
        "## Exit codes\n\n" + table(["code", "name", "when"], exits),
        f"## Errors\n\n{about}\n\n" + table(["code", "class", "when", "temporary", "exit code"], rows),
        outro,
    )


def _yes(holds: bool) -> str:
    return "yes" if holds else ""


def _code(kind: type[TowpathError]) -> int:
    """The exit code of a class, as the edge maps it."""
    return int(exit_of(kind.__new__(kind)))


# --- ports ------------------------------------------------------------------------------------------------------------


def _ports() -> str:
    found = [vars(ports)[name] for name in ports.__all__]
    protocols = [item for item in found if getattr(item, "_is_protocol", False)]
    where = (
        "The package is `towpath.ports`; what implements the ports lives in `towpath.adapters` and `towpath.ledger`, "
        "and `towpath.wiring` chooses."
    )
    return page(
        "Ports",
        prose(ports.__doc__),
        where,
        *(f"## {item.__name__}\n\n{prose(item.__doc__)}\n\n{_methods(item)}" for item in protocols),
        "## Values",
        *(
            f"### {item.__name__}\n\n{prose(item.__doc__)}\n\n{_fields(item)}"
            for item in found
            if item not in protocols
        ),
    )


def _methods(protocol: type) -> str:
    lines = []
    for name, method in vars(protocol).items():
        if inspect.isfunction(method) and not name.startswith("_"):
            about = prose(method.__doc__).replace("\n\n", "\n\n  ")
            lines.append(f"- `{name}{_signature(method)}`" + (f"\n\n  {about}" if about else ""))
    return "\n".join(lines)


def _signature(method: Callable[..., object]) -> str:
    return str(inspect.signature(method)).replace("self, ", "").replace("self", "").replace("'", "")


def _fields(kind: type) -> str:
    rows = [[f"`{name}`", f"`{given}`"] for name, given in inspect.get_annotations(kind).items()]
    return table(["field", "type"], rows)


# --- commands ---------------------------------------------------------------------------------------------------------


def commands() -> dict[str, Any]:
    """Every command by the words that call it, `towpath` itself among them, as Typer built it."""
    from typer.main import get_command

    from towpath.cli.app import app

    found: dict[str, Any] = {}

    def walk(words: str, command: Any) -> None:
        found[words] = command
        for name, inner in getattr(command, "commands", {}).items():
            walk(f"{words} {name}", inner)

    walk("towpath", get_command(app))
    return found


def _cli() -> str:
    intro = (
        "Results go to stdout, everything else to stderr. Every command takes `--help`, every one that prints results "
        "`--json`. What a command ends with: [exit codes](errors.md#exit-codes)."
    )
    rows = [[f"`{item.name}`", item.about, item.stage.value, f"`{item.gate}`"] for item in SABOTAGES.values()]
    sabotages = table(["sabotage", "what is done", "refused at", "by"], rows)
    return page(
        "Commands",
        intro,
        *(_command(words, item) for words, item in commands().items()),
        f"## Sabotages\n\n`towpath demo --sabotage NAME` damages a copy of the example.\n\n{sabotages}",
    )


def _command(words: str, command: Any) -> str:
    about, _, example = prose(command.help).partition("\n\nExample: ")
    arguments = [item for item in command.params if item.param_type_name == "argument"]
    options = [item for item in command.params if item.param_type_name == "option"]
    inner = getattr(command, "commands", {})
    usage = [words, *(item.metavar if item.required else f"[{item.metavar}]" for item in arguments)]
    usage += [f"{item.opts[0]} {_value(item)}" for item in options if item.required]
    usage += ["[OPTIONS]", "COMMAND"] if inner else ["[OPTIONS]"]
    parts = [f"## {words}", about, f"```text\n{' '.join(usage)}\n```"]
    if inner:
        links = (f"[`{name}`](#{'-'.join([*words.split(), name])})" for name in inner)
        parts.append(f"Commands: {', '.join(links)}")
    rows = [[f"`{item.metavar}`", item.help or ""] for item in arguments]
    rows += [[f"`{' '.join([*item.opts, _value(item)]).strip()}`", _about(item)] for item in options]
    parts += [table(["argument or option", "about"], rows)] if rows else []
    parts += [f"Example:\n\n```text\n{example}\n```"] if example else []
    return "\n\n".join(parts)


def _value(option: Any) -> str:
    """What stands behind an option's name; nothing for a flag."""
    if option.is_flag:
        return ""
    if option.metavar:
        return str(option.metavar)
    kind = option.type_descriptor.annotation
    if get_origin(kind) is Literal:
        return "|".join(get_args(kind))
    return {int: "NUMBER", Path: "PATH"}.get(kind, "TEXT")


def _about(option: Any) -> str:
    given = option.default
    shown = given is not None and given is not False and option.show_default and not callable(given)
    words = [option.help or "", f"Default: {given}." if shown and str(given) else "", "Required." * option.required]
    return " ".join(word for word in words if word)


if __name__ == "__main__":
    for written in write(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/reference")):
        sys.stdout.write(f"{written}\n")
