"""Every command, option, setting, gate, exit code, path, link and dotted name that the pages mention is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from docs import pages
from docs.pages import ROOT
from towpath.cli import reference
from towpath.cli.exits import Exit
from towpath.core.charter import Charter
from towpath.core.gates import GATES
from towpath.example.workspace import TEMPLATE
from towpath.settings import VARIABLES

commands = cache(reference.commands)
MISTYPED = {"TOWPATH_LEGDER"}  # shown being refused
_CALL = re.compile(
    r"(?:^|[|&;(] *|\b[A-Z_]+=\S* +)towpath((?: +(?:\"[^\"]*\"|'[^']*'|[^\s|;&>)`]+))+)", flags=re.MULTILINE
)
_SUFFIX = r"\.(?:py|md|yaml|yml|json|jsonl|sql|html|png|svg|db|lock|parquet)"


def spans(text: str) -> list[str]:
    """Code spans of the prose."""
    return re.findall(r"(?<!`)`([^`\n]+)`(?!`)", re.sub(r"\s*\n\s*(?=[^`\n]*`)", " ", pages.prose(text)))


def commands_typed(text: str) -> Iterator[str]:
    """What stands behind `towpath` wherever it is called: in code spans, and in commands and text of blocks."""
    lines = [
        line for block in pages.blocks(text) if block.language in ("bash", "text") for line in block.text.splitlines()
    ]
    lines += [
        step.command for block in pages.blocks(text) if block.language == "console" for step in pages.steps(block)
    ]
    for code in [*spans(text), *lines]:
        yield from _CALL.findall(code.replace("\\\n", " "))


def wrong_command(typed: str) -> str | None:
    """What is wrong with the words behind `towpath`."""
    known, words = commands(), typed.split()
    name = "towpath"
    while words and f"{name} {words[0]}" in known:
        name = f"{name} {words.pop(0)}"
    if hasattr(known[name], "commands") and words and re.fullmatch(r"[a-z]+", words[0]):
        return f"{name} has no command {words[0]}"
    options = {option for item in known[name].params for option in item.opts} | {"--help", "-h"}
    roots = {option for item in known["towpath"].params for option in item.opts}
    for word in words:
        if re.match(r"--\w", word) and word.split("=")[0] not in options | roots:
            return f"{name} has no option {word}"
    return None


def wrong_dotted(name: str) -> bool:
    """Whether a dotted name is no gate, no key of the charter, nothing of towpath's modules, and no event."""
    return not (name in GATES or _charter(name) or _python(name) or f'"{name}"' in code())


def _charter(name: str) -> bool:
    model: Any = Charter
    for part in name.split("."):
        fields = {field.alias: field.annotation for field in model.model_fields.values()} if model else {}
        if part not in fields:
            return False
        kinds = [fields[part], *get_args(fields[part])]  # an optional section is a union with None
        model = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
    return True


def _python(name: str) -> bool:
    """Whether it is a module, or stands in one at its outermost level; nothing is imported, that takes seconds."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        file = (ROOT / "platform").joinpath(*parts[:count])
        module = file / "__init__.py" if file.is_dir() else file.with_suffix(".py")
        if module.is_file():
            inner = parts[count : count + 1]
            return not inner or bool(
                re.search(rf"^(?:class |def )?{inner[0]}\b", module.read_text(encoding="utf-8"), re.MULTILINE)
            )
    return False


@cache
def code() -> str:
    files = [*(ROOT / "platform").rglob("*.py"), *(ROOT / "flows").glob("*.py")]
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


def wrong_path(name: str, page: str) -> bool:
    """Whether a path is in no place that the page can mean: this repository, the example, what commands write."""
    if any((root / name).exists() for root in (ROOT, TEMPLATE, ROOT / "platform/towpath")):
        return False
    if not name.startswith(".") and (ROOT / Path(name).parts[0]).exists():
        return True
    last = Path(name).name
    typed = "".join(block.text for block in pages.blocks(page))
    return last not in typed and not re.search(rf"[\"'/]{re.escape(last)}[\"']", code())


def anchors(text: str) -> set[str]:
    """The anchors that a host of Markdown gives to a page's headings."""
    titles = re.findall(r"^#+ (.+)$", pages.prose(text), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def broken_links(page: Path, text: str) -> list[str]:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", pages.prose(text)):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        there = file.exists() and (not anchor or anchor in anchors(file.read_text(encoding="utf-8")))
        broken += [] if there else [target]
    return broken


ALL = [*pages.written(), *pages.made(), ROOT / "CHANGELOG.md"]
NOW = [page for page in ALL if page.parent.name != "adr"]  # decision records speak of their day, and of other tools


@pytest.fixture(params=NOW, ids=lambda page: page.relative_to(ROOT).as_posix())
def page(request: pytest.FixtureRequest) -> Path:
    assert isinstance(request.param, Path)
    return request.param


def test_commands_and_options_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert [wrong for typed in commands_typed(text) if (wrong := wrong_command(typed))] == []
    known = {option for command in commands().values() for item in command.params for option in item.opts}
    alone = {span for span in spans(text) if re.fullmatch(r"--[a-z-]+", span)}
    assert alone - known - {"--help"} == set()


def test_make_targets_exist(page: Path) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    mentioned = {
        span.split()[1] for span in spans(page.read_text(encoding="utf-8")) if re.fullmatch(r"make [a-z-]+", span)
    }
    assert mentioned <= {*targets, "docs"}


def test_settings_exist(page: Path) -> None:
    known = {item.name for item in VARIABLES} | MISTYPED
    found = set(re.findall(r"TOWPATH_[A-Z0-9_]+", page.read_text(encoding="utf-8")))
    assert found - known - set(re.findall(r'"(TOWPATH_\w+)"', code())) == set()


def test_exit_codes_exist(page: Path) -> None:
    found = re.findall(r"exit codes? (\d+)", page.read_text(encoding="utf-8"))
    assert {int(number) for number in found} <= {item.value for item in Exit}


def test_dotted_names_exist(page: Path) -> None:
    dotted = re.compile(r"[a-z_]+(?:\.[A-Za-z_]+)+(?:\(\))?")
    names = [span for span in spans(page.read_text(encoding="utf-8")) if dotted.fullmatch(span)]
    names = [name.removesuffix("()") for name in names if not re.search(rf"{_SUFFIX}$", name)]
    assert [name for name in names if wrong_dotted(name)] == []


def test_paths_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    path = re.compile(rf"\.?[\w-]+(?:/[\w.-]+)+|\.?[\w-]+(?:\.\w+)*{_SUFFIX}")
    assert [span for span in spans(text) if path.fullmatch(span) and wrong_path(span, text)] == []


@pytest.mark.parametrize("page", ALL, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    assert broken_links(page, page.read_text(encoding="utf-8")) == []


def test_pages_that_people_write_mention_every_command() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages.written())
    assert [words for words in commands() if not re.search(rf"\b{words}\b", text)] == []


def test_the_checks_bite(tmp_path: Path) -> None:
    text = "Run `towpath promte x --by y` and\n`towpath run --as-off z`.\n"
    text += "\n```console\n$ A=b towpath ledger verfy | cat\n```\n"
    assert [wrong_command(typed) for typed in commands_typed(text)] == [
        "towpath has no command promte",
        "towpath run has no option --as-off",
        "towpath ledger has no command verfy",
    ]
    assert wrong_command(" ledger verify --file x --json") is None
    assert wrong_command(" --debug monitor") is None
    assert wrong_dotted("eval.roc_auk")
    assert wrong_dotted("towpath.core.gate")
    assert wrong_dotted("monitoring.windows")
    assert not wrong_dotted("monitoring.window")
    assert not wrong_dotted("towpath.drift")
    assert not wrong_dotted("towpath.core.errors.NotFound")
    assert wrong_path("platform/towpath/kernel", "")
    assert wrong_path("model_kard.html", "")
    assert not wrong_path("train.py", "")
    page = tmp_path / "page.md"
    page.write_text("# One title\n\n[a](#one-title) [b](#another) [c](no.md) [d](page.md#one-title)\n")
    assert broken_links(page, page.read_text()) == ["#another", "no.md"]
