"""`towpath contract diff` of two files."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from cli.conftest import Cli
from contract.matrix import base


def written(folder: Path, version: str) -> None:
    new = base()
    new["version"] = version
    new["schema"][1]["properties"].pop(2)
    (folder / "old.yaml").write_text(yaml.safe_dump(base()))
    (folder / "new.yaml").write_text(yaml.safe_dump(new))


@pytest.mark.parametrize(("version", "code"), [("1.3.0", 3), ("2.0.0", 0)])
def test_a_version_too_low_is_refused(cli: Cli, place: Path, version: str, code: int) -> None:
    written(place, version)
    ran = cli("contract", "diff", "old.yaml", "new.yaml", "--json")
    assert ran.code == code
    assert (ran.json["bump"], ran.json["least"], ran.json["enough"]) == ("major", "2.0.0", code == 0)
    assert [(one["where"], one["impact"]) for one in ran.json["changes"]] == [("schema[orders].code", "breaking")]
    shown = cli("contract", "diff", "old.yaml", "new.yaml")
    assert shown.code == code
    assert "the column is gone" in shown.out
    assert ("is too low after 1.2.0: the changes need a major bump, at least 2.0.0" in shown.out) is (code == 3)


def test_the_same_file_differs_in_nothing(cli: Cli, place: Path) -> None:
    written(place, "1.2.0")
    ran = cli("contract", "diff", "old.yaml", "old.yaml")
    assert (ran.code, ran.out.splitlines()[0]) == (0, "Nothing differs.")


def test_what_cannot_be_compared_is_said_in_a_sentence(cli: Cli, place: Path) -> None:
    written(place, "latest")
    assert "There is no file gone.yaml" in cli("contract", "diff", "gone.yaml", "new.yaml").err
    ran = cli("contract", "diff", "old.yaml", "new.yaml", "--json")
    assert (ran.code, ran.json["error"]["value"]) == (2, "latest")
    (place / "list.yaml").write_text("- no contract\n")
    assert cli("contract", "diff", "old.yaml", "list.yaml", "--json").json["error"]["code"] == "declaration"
