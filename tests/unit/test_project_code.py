"""A project's training code is what its source says: its digest is the evidence, and bytecode beside it is not."""

from __future__ import annotations

import importlib.util
import os
import py_compile
from pathlib import Path

from towpath.project import fit_in


def test_bytecode_beside_the_training_code_is_never_run(tmp_path: Path) -> None:
    file = tmp_path / "train.py"
    file.write_text("def fit():\n    return 'evil'\n", encoding="utf-8")
    before = file.stat()
    cached = Path(py_compile.compile(str(file), doraise=True) or "")
    assert str(cached) == importlib.util.cache_from_source(str(file))
    file.write_text("def fit():\n    return 'good'\n", encoding="utf-8")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))  # as old and as long as what was compiled

    assert fit_in(tmp_path, "train.py:fit", project="one")() == "good"


def test_no_bytecode_is_left_in_the_project(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("def fit():\n    return 1\n", encoding="utf-8")
    fit_in(tmp_path, "train.py:fit", project="one")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["train.py"]
