"""The layers of the house hold, and each rule is seen to bite on a copy of the house with one wrong import."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--config", "pyproject.toml", "--no-cache"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root / "platform")},
        capture_output=True,
        text=True,
    )


@pytest.fixture
def house(tmp_path: Path) -> Path:
    shutil.copytree(
        ROOT / "platform", tmp_path / "platform", ignore=shutil.ignore_patterns("__pycache__", "feature_repo")
    )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_house_keeps_its_rules() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("module", "line", "rule"),
    [
        ("core/gates.py", "import towpath.stages.work", "The house has layers"),
        ("stages/train.py", "import towpath.wiring", "The house has layers"),
        ("ledger/sql.py", "import towpath.stages.work", "The house has layers"),
        ("newcomer.py", "import towpath.core", "The house has layers"),
        ("adapters/mlflow_models.py", "import towpath.adapters.sources", "Adapters do not know each other"),
        ("stages/ingest.py", "import towpath.adapters.sources", "Only wiring imports adapters"),
        ("cli/run.py", "import towpath.adapters.sources", "Only wiring imports adapters"),
        ("core/digest.py", "import pandas", "The core imports no service"),
    ],
)
def test_a_wrong_import_is_refused(house: Path, module: str, line: str, rule: str) -> None:
    file = house / "platform/towpath" / module
    file.write_text((file.read_text() if file.exists() else "") + f"\n{line}\n")
    done = lint_imports(house)
    assert done.returncode == 1, done.stdout + done.stderr
    broken = [text for text in done.stdout.splitlines() if "BROKEN" in text or "exhaustive" in text.lower()]
    assert any(rule in text for text in broken) or rule in done.stdout, done.stdout
