"""A model project read from its folder: the charter, its contracts, and the digests of what it is made of."""

from __future__ import annotations

import importlib.machinery
import importlib.metadata
import importlib.util
import platform
import subprocess
import sysconfig
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import CodeType
from typing import Any

import yaml

from towpath.core import charter as charters
from towpath.core import contract as contracts
from towpath.core import digest as digests
from towpath.core import names
from towpath.core.charter import Charter
from towpath.core.contract import Contract
from towpath.core.errors import BadInput, DeclarationError, NotFound, Problems, TowpathError

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the same, ten times faster where libyaml is there


@dataclass(frozen=True, kw_only=True)
class Project:
    """A loaded model project. `contracts` are by table, as the charter's sources name them."""

    folder: Path
    charter: Charter
    contracts: Mapping[str, Contract]

    @property
    def repository(self) -> Path:
        return self.folder / self.charter.features.repository

    @property
    def charter_digest(self) -> str:
        return self.section_digest()

    def section_digest(self, *path: str) -> str:
        """Digest of the charter, or of the part of it under `path` (its YAML keys)."""
        part: Any = self.charter.model_dump(mode="json", by_alias=True)
        for key in path:
            part = part[key]
        return digests.of_json(part)

    @property
    def repository_digest(self) -> str:
        """Digest of the feature repository: its definitions, settings and transforms."""
        return digests.of_tree(self.repository, names=self.repository_files)

    @property
    def repository_files(self) -> list[str]:
        """What the feature repository's digest covers: names below it."""
        return [
            file.relative_to(self.repository).as_posix()
            for file in self.repository.rglob("*")
            if file.suffix in {".py", ".sql", ".yaml", ".yml"} and file.is_file() and "__pycache__" not in file.parts
        ]

    @property
    def code_digest(self) -> str:
        """Digest of the training code: every Python file of the project folder outside the feature repository."""
        return digests.of_tree(self.folder, names=self.code_files)

    @property
    def code_files(self) -> list[str]:
        """What the training code's digest covers: names below the project folder."""
        root = self.repository.resolve()
        python = [file for file in self.folder.rglob("*.py") if root not in file.resolve().parents]
        found = [file.relative_to(self.folder) for file in python]
        return [file.as_posix() for file in found if not any(part.startswith((".", "__")) for part in file.parts)]

    def commit(self) -> str:
        """The git commit of the folder, with `+dirty` when it has changes; empty outside a repository."""
        try:
            head = _git(self.folder, "rev-parse", "HEAD")
            return head + ("+dirty" if _git(self.folder, "status", "--porcelain", "--", ".") else "")
        except (OSError, subprocess.CalledProcessError):
            return ""

    def fit(self) -> Callable[..., Any]:
        """The training function that the charter names (`file.py:function`)."""
        return fit_in(self.folder, self.charter.training.entry, project=self.charter.project)


class SourceOnly(importlib.machinery.SourceFileLoader):
    """Runs the code whose digest is the evidence: bytecode beside it may be other code. Leaves none either."""

    def get_code(self, fullname: str) -> CodeType:  # noqa: ARG002 - the signature of Python
        return self.source_to_code(self.get_data(self.path), self.path)


def fit_in(folder: Path, entry: str, *, project: str) -> Callable[..., Any]:
    """The function that `entry` (`file.py:function`) names in a folder. Raises `BadInput` when it cannot be had."""
    file_name, _, function = entry.partition(":")
    file = folder / file_name
    if not file.is_file():
        raise BadInput(
            f"training.entry names {file_name}, which is not in {folder}.",
            value=file_name,
            valid=sorted(found.name for found in folder.glob("*.py")),
            hint="Name a Python file of the project's folder and a function in it: file.py:function.",
        )
    name = f"towpath_project_{project}"
    spec = importlib.util.spec_from_file_location(name, file, loader=SourceOnly(name, str(file)))
    if spec is None or spec.loader is None:
        raise BadInput(f"{file} cannot be imported.", value=str(file), hint="Name a Python file in training.entry.")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise BadInput(
            f"{file} fails on import: {type(error).__name__}: {error}.",
            value=str(file),
            hint="Mend it; `towpath check` imports it as the path does.",
        ) from error
    found = getattr(module, function, None)
    if not callable(found):
        valid = [name for name, item in vars(module).items() if callable(item) and not name.startswith("_")]
        raise BadInput(f"{file} has no function {function!r}.", value=function, valid=valid)
    return found  # type: ignore[no-any-return]


def load(folder: Path) -> Project:
    """Read a project folder. Raises `Problems` with every error of the charter and of all contracts."""
    file = folder if folder.suffix in {".yaml", ".yml"} else folder / names.CHARTER_FILE
    if not file.is_file():
        raise NotFound(
            f"There is no {names.CHARTER_FILE} in {folder}.",
            value=str(folder),
            hint="Name the folder of a model project; `towpath demo` makes one to look at.",
        )
    charter = charters.parse(_yaml(file), origin=file.name)
    problems: list[TowpathError] = []
    found: dict[str, Contract] = {}
    for table, source in charter.sources.items():
        try:
            found[table] = _contract(file.parent / source.contract, table)
        except Problems as error:
            problems += error.problems
        except TowpathError as error:
            problems.append(error)
    if problems:
        raise Problems(problems)
    contracts.check_references(tuple(found.values()))
    return Project(folder=file.parent, charter=charter, contracts=found)


def contract_file(file: Path, *, origin: str | None = None) -> tuple[Contract, dict[str, Any]]:
    """A contract and the document it was read from. `origin`: what problems call it.

    Raises `NotFound`, or `Problems` with every error of it.
    """
    if not file.is_file():
        near = sorted(item.name for item in file.parent.glob("*.odcs.yaml")) if file.parent.is_dir() else []
        raise NotFound(f"There is no file {file}.", value=str(file), valid=near, hint="Name the file of a contract.")
    document = _yaml(file)
    contract = contracts.parse(document, origin=origin or file.name)
    return contract, document if isinstance(document, dict) else {}


def _contract(file: Path, table: str) -> Contract:
    if not file.is_file():
        near = sorted(item.name for item in file.parent.glob("*.odcs.yaml")) if file.parent.is_dir() else []
        raise NotFound(f"sources.{table}.contract: there is no file {file}.", value=str(file), valid=near)
    contract = contracts.parse(_yaml(file), origin=file.name)
    if table not in contract.tables:
        raise DeclarationError(
            f"sources.{table}: contract {file.name} describes no table {table!r}.", value=table, valid=contract.tables
        )
    return contract


def _yaml(file: Path) -> object:
    try:
        return yaml.load(file.read_text(encoding="utf-8"), Loader=_LOADER)  # noqa: S506
    except yaml.YAMLError as error:
        raise DeclarationError(f"{file.name} is not YAML: {error}", value=str(file)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{file} cannot be read: {error}.", value=str(file)) from error


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout.strip()  # noqa: S603


@cache
def environment() -> Mapping[str, str]:
    """Installed distributions and their versions, and Python's: what a training run stood on.

    Only those of the environment's own folders: `sys.path` grows while a process runs (setuptools adds its copies).
    """
    folders = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
    versions = {item.metadata["Name"].lower(): item.version for item in importlib.metadata.distributions(path=folders)}
    return {"python": platform.python_version(), **dict(sorted(versions.items()))}


def environment_digest() -> str:
    return digests.of_json(dict(environment()))
