"""Markdown that the reference pages are made of."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence

_MADE = "<!-- Made from the code by `make docs`. Do not edit. -->"


def page(title: str, *parts: str) -> str:
    return "\n\n".join([f"# {title}", _MADE, *(part.strip() for part in parts if part.strip())]) + "\n"


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines)


def prose(text: str | None) -> str:
    """A docstring as Markdown: its indentation gone, its lines joined into paragraphs."""
    paragraphs = inspect.cleandoc(text or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
