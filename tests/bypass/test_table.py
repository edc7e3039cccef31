"""The table of attacks in the documentation names every test here, with its own words, and no other."""

from __future__ import annotations

import ast
from pathlib import Path

HERE = Path(__file__).parent
TABLE = HERE.parents[1] / "docs" / "attacks.md"


def described() -> dict[str, str]:
    """What each attack's test says that it does."""
    found: dict[str, str] = {}
    for file in sorted(HERE.glob("test_*.py")):
        if file == Path(__file__):
            continue
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                found[node.name.removeprefix("test_")] = " ".join((ast.get_docstring(node) or "").split())
    return found


def test_the_table_is_of_the_tests() -> None:
    rows = [line.split(" | ") for line in TABLE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    told = {name.removeprefix("| `").removesuffix("`"): attack for name, attack, *_ in rows}
    assert told == described()
    assert all(len(row) == 4 and all(part.strip(" |") for part in row) for row in rows)
    assert len(told) == len(rows) > 20
