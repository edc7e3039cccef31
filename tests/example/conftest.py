"""The example's real tables: landed once, loaded once, staged once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from example.tables import REPOSITORY, Example
from towpath.example.landing import land


@pytest.fixture(scope="session")
def landed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The landing zone of the whole year."""
    folder = tmp_path_factory.mktemp("landed")
    land(folder)
    return folder


@pytest.fixture(scope="session")
def staged(landed: Path) -> Iterator[Example]:
    """The whole year, staged. Tests read from it and write only under schemas of their own."""
    example = Example(landed)
    yield example
    example.database.close()


@pytest.fixture(scope="session")
def feature_files() -> Mapping[str, Path]:
    return {file.stem: file for file in sorted((REPOSITORY / "transforms" / "features").glob("*.sql"))}


@pytest.fixture(scope="session")
def built(staged: Example, feature_files: Mapping[str, Path]) -> Example:
    """`staged` with schema `feature`: every feature source and the spine."""
    staged.database.execute("CREATE SCHEMA feature")
    for name, file in {**feature_files, "spine": REPOSITORY / "transforms" / "spine.sql"}.items():
        staged.database.execute(f"CREATE TABLE feature.{name} AS {file.read_text()}")
    return staged


@pytest.fixture(scope="session")
def contracts() -> Mapping[str, Mapping[str, Any]]:
    """The contracts' documents by file name."""
    files = sorted((REPOSITORY / "contracts").glob("*.odcs.yaml"))
    return {file.name.removesuffix(".odcs.yaml"): yaml.safe_load(file.read_text()) for file in files}
