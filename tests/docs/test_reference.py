"""The reference is what the code makes, and leaves nothing out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase

from docs.pages import ROOT
from towpath.cli import reference
from towpath.core.charter import json_schema
from towpath.core.errors import TowpathError
from towpath.core.gates import GATES
from towpath.gateway import batching, faults, metrics
from towpath.settings import VARIABLES

FOLDER = ROOT / "docs/reference"


@pytest.mark.parametrize("name", reference.pages())
def test_a_committed_page_is_as_the_code_makes_it(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == reference.pages()[name], "`make docs` writes it anew"


def test_no_page_is_left_of_what_the_code_no_longer_makes() -> None:
    of_tests = ["contract-changes.md"]  # made of the matrix in tests/contract, and held to it there
    assert sorted(file.name for file in FOLDER.iterdir()) == sorted([*reference.pages(), *of_tests])


def test_pages_are_written_where_they_are_wanted(tmp_path: Path) -> None:
    files = reference.write(tmp_path / "new/reference")
    assert {file.name: file.read_text(encoding="utf-8") for file in files} == reference.pages()


def test_every_command_and_option_is_documented() -> None:
    page = reference.pages()["cli.md"]
    for words, command in reference.commands().items():
        section = page.split(f"\n## {words}\n", maxsplit=1)[1].split("\n## ", maxsplit=1)[0]
        for item in command.params:
            assert f"`{item.metavar if item.param_type_name == 'argument' else item.opts[0]}" in section, words


def test_every_gate_setting_and_error_is_documented() -> None:
    made = reference.pages()
    assert [code for code in GATES if f"| `{code}` |" not in made["gates.md"]] == []
    assert [item.name for item in VARIABLES if f"| `{item.name}` |" not in made["settings.md"]] == []
    assert [kind.code for kind in reference.error_classes() if f"| `{kind.code}` |" not in made["errors.md"]] == []


def test_every_key_of_the_charter_is_documented() -> None:
    page, schema = reference.pages()["charter.md"], json_schema()
    for part in (schema, *schema["$defs"].values()):
        assert [key for key in part.get("properties", {}) if f"| `{key}` |" not in page] == []


def test_every_metric_and_refusal_of_the_gateway_is_documented() -> None:
    page = (ROOT / "docs/tutorials/platform-team.md").read_text(encoding="utf-8")
    names = {found.name for found in REGISTRY.collect() if found.name.startswith("towpath_gateway_")}
    defined = {metric._name for metric in vars(metrics).values() if isinstance(metric, MetricWrapperBase)}
    assert names == defined
    assert [name for name in sorted(defined) if not re.search(rf"`{name}(?:_total)?`", page)] == []
    codes = {kind.code for module in (faults, batching) for kind in vars(module).values() if _error_of(kind, module)}
    assert codes
    assert [code for code in sorted(codes) if f"`{code}`" not in page] == []


def _error_of(kind: object, module: object) -> bool:
    own = getattr(kind, "__module__", "") == getattr(module, "__name__", "")
    return own and isinstance(kind, type) and issubclass(kind, TowpathError)
