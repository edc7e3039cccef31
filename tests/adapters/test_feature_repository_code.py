"""A feature repository is what its source says: its digest is the evidence, and bytecode beside it is not."""

from __future__ import annotations

import importlib.util
import py_compile
from pathlib import Path

import pytest

from towpath.adapters import feast_loading
from towpath.adapters.feast_features_repository import definitions
from towpath.core.errors import DeclarationError

_DEFINED = """
from feast import Entity, ValueType
from {module} import NAME
shop = Entity(name=NAME, join_keys=["shop"], value_type=ValueType.STRING)
"""


def write(repository: Path, module: str) -> Path:
    """The file of a module that says one thing, and bytecode that Python would never hold to its source another."""
    feast_loading.load()
    (repository / "definitions.py").write_text(_DEFINED.format(module=module), encoding="utf-8")
    file = repository / f"{module.replace('.', '/')}.py"
    file.parent.mkdir(exist_ok=True)
    file.write_text("NAME = 'evil'\n", encoding="utf-8")
    py_compile.compile(str(file), doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    file.write_text("NAME = 'good'\n", encoding="utf-8")
    return file


@pytest.mark.parametrize(("module", "package"), [("shops", False), ("parts.shops", False), ("parts.shops", True)])
def test_bytecode_beside_a_repositorys_modules_is_never_run(tmp_path: Path, module: str, package: bool) -> None:
    file = write(tmp_path, module)
    if package:
        (file.parent / "__init__.py").write_text("", encoding="utf-8")
    for _ in range(2):
        assert [one.name for one in definitions(tmp_path)] == ["good"]


def test_a_module_without_source_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path, "shops")
    Path(importlib.util.cache_from_source(str(file))).rename(tmp_path / "shops.pyc")
    file.unlink()
    with pytest.raises(DeclarationError, match=r"definitions\.py of the feature repository fails: .*shops.* no source"):
        definitions(tmp_path)
