"""The documentation as its tests read it: pages, fenced blocks, and what a block says that a command prints."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
ELLIPSIS = "…"
_FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<body>.*?)^```$", flags=re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block: its language, what else stands behind it, its text and the line of the page it begins on."""

    language: str
    extra: str
    text: str
    line: int


@dataclass(frozen=True, kw_only=True)
class Step:
    """A command of a console block and the lines that the page shows behind it."""

    command: str
    shown: tuple[str, ...]


def written() -> list[Path]:
    """Every page that people write: README and docs, without what is made from the code."""
    docs = [file for file in sorted((ROOT / "docs").rglob("*.md")) if "reference" not in file.parts]
    return [ROOT / "README.md", *docs]


def made() -> list[Path]:
    """Every page that is made from the code."""
    return sorted((ROOT / "docs/reference").glob("*.md"))


def blocks(text: str) -> Iterator[Block]:
    for match in _FENCE.finditer(text):
        language, _, extra = match["info"].strip().partition(" ")
        yield Block(
            language=language,
            extra=extra.strip(),
            text=match["body"],
            line=text.count("\n", 0, match.start()) + 1,
        )


def prose(text: str) -> str:
    """The page without its fenced blocks."""
    return _FENCE.sub("", text)


def steps(block: Block) -> list[Step]:
    """A console block's commands: lines after `$ `, continued while they end in a backslash; the rest is output."""
    found: list[tuple[list[str], list[str]]] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            found.append(([line[2:]], []))
        elif found and found[-1][0][-1].endswith("\\") and not found[-1][1]:
            found[-1][0].append(line)
        elif found:
            found[-1][1].append(line)
        else:
            raise ValueError(f"Line {block.line}: a console block begins with `$ `, not with {line!r}.")
    return [Step(command="\n".join(command), shown=tuple(shown)) for command, shown in found]


# --- what is shown against what is printed ----------------------------------------------------------------------------

# Digests depend on the packages that are installed: the first on a page is learnt, and must be the same ever after.
_DIGEST = r"\b(?:[0-9a-f]{64}|(?=[0-9]*[a-f])[0-9a-f]{12})\b"
# What differs from run to run. Everything else, figures above all, must be printed as it is shown.
_VOLATILE = (
    (r"20[2-9]\d-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?Z?", "the time of the run"),
    (r"\d+(?:\.\d+)? ms", "a latency"),
    (r"\(\d+(?:\.\d)? [kM]?B\)", "the size of a picture or a page"),
    (r"\d[\d,]* (?:requests|answered|labels|units)\b", "how much live traffic a look came upon"),
)
_SECONDS = r"(?<= )\d+\.\d(?= )"
_PROGRESS = re.compile(
    r"(?:landing|init|ingest|validate|featurize|train|evaluate|register|canary|promote|monitor|reproduce) +\S.*"
    r"|(?:champion|challenger), made from what was known on .*"
)  # replaced by bars on a terminal


def plain(text: str) -> str:
    """Text as it is compared: a run of blanks, line ends or rules is one, for pages wrap and tables differ in width."""
    return re.sub(r"─+", "─", " ".join(text.split()))


def without_progress(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not _PROGRESS.fullmatch(line))


def mismatch(shown: tuple[str, ...], printed: str, known: dict[str, str]) -> str | None:
    """What is wrong with the lines shown, or None; digests that they show are added to `known`.

    An ellipsis stands for any text, on a line of its own for any number of lines.
    """
    expected, actual = [line for line in map(plain, shown) if line], f"{plain(printed)} ".lstrip()
    timed = any("seconds" in line for line in expected)
    names: dict[str, str] = {}
    patterns = [_pattern(line, known, names, timed=timed) for line in expected]
    match = re.fullmatch("".join(patterns), actual)
    if match is not None:
        known |= {digest: match[name] for digest, name in names.items()}
        return None
    for count in range(1, len(patterns) + 1):
        if not re.match("".join(patterns[:count]), actual):
            return f"Line {expected[count - 1]!r} is shown and not printed there."
    return "More is printed than is shown; an ellipsis stands for what is left out."


def _pattern(line: str, known: Mapping[str, str], names: dict[str, str], *, timed: bool) -> str:
    if line == ELLIPSIS:
        return r"(?:\S+ )*?"
    volatile = "|".join(f"(?:{pattern})" for pattern, _ in _VOLATILE) + (f"|{_SECONDS}" if timed else "")
    parts, end = [], 0
    for match in re.finditer(f"(?P<digest>{_DIGEST})|{ELLIPSIS}|{volatile}", line):
        parts.append(re.escape(line[end : match.start()]))
        parts.append(_part(match, known, names))
        end = match.end()
    return "".join([*parts, re.escape(line[end:]), " "])


def _part(match: re.Match[str], known: Mapping[str, str], names: dict[str, str]) -> str:
    text = match[0]
    if text == ELLIPSIS:
        return ".*?"
    if match["digest"] is None:
        return next((pattern for pattern, _ in _VOLATILE if re.fullmatch(pattern, text)), r"\d+\.\d")
    if text in known:
        return re.escape(known[text])
    if text in names:
        return f"(?P={names[text]})"
    names[text] = f"digest{len(names)}"
    return f"(?P<{names[text]}>[0-9a-f]{{{len(text)}}})"


def with_known(text: str, known: Mapping[str, str]) -> str:
    """The text of a block with the digests of this run in place of those that the page shows."""
    return re.sub(_DIGEST, lambda match: known.get(match[0], match[0]), text)
