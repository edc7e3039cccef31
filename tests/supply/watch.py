"""Proof that nothing of a model was loaded: what its payload would do, and every way to load one, are watched."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

LOADERS = (
    ("skops.io", "load"),
    ("skops.io", "loads"),
    ("joblib", "load"),
    ("onnx", "load"),
    ("onnx", "load_model"),
    ("onnx", "load_model_from_string"),
    ("onnxruntime", "InferenceSession"),
    ("treelite.Model", "deserialize"),
    ("treelite.Model", "deserialize_bytes"),
    ("numpy", "load"),
    ("pickle", "load"),
    ("pickle", "loads"),
    ("pickle", "Unpickler"),
    ("towpath.adapters.mlflow_models_saved", "load"),
    ("towpath.adapters.runtime_sklearn", "_Worker"),
    ("towpath.adapters.runtime_file", "read"),
)
EVENTS = ("pickle.find_class", "os.system", "os.exec", "os.posix_spawn", "subprocess.Popen")


@dataclass(kw_only=True)
class Watch:
    """What was done while it looked. `canary` is the file that every payload of the tests would make."""

    canary: Path
    done: list[str] = field(default_factory=list)
    looking: bool = False

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.looking and event in EVENTS:
            self.done.append(f"{event} {arguments[:2]}")

    @contextmanager
    def nothing_loaded(self) -> Iterator[None]:
        """Fails unless the block is gone through without a single loader called."""
        with pytest.MonkeyPatch.context() as patch:
            for owner, name in LOADERS:
                patch.setattr(f"{owner}.{name}", self._refusing(f"{owner}.{name}"))
            self.looking = True
            try:
                yield
            finally:
                self.looking = False
        assert self.done == []
        assert not self.canary.exists()

    def _refusing(self, name: str) -> Any:
        def called(*arguments: Any, **options: Any) -> Any:
            self.done.append(name)
            raise AssertionError(f"{name} was called")

        return called


_CURRENT: list[Watch] = []


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    for watch in _CURRENT:
        watch.audit(event, arguments)


sys.addaudithook(_hook)  # for good: Python lets nobody take one away


@contextmanager
def watching(canary: Path) -> Iterator[Watch]:
    watch = Watch(canary=canary)
    _CURRENT.append(watch)
    try:
        yield watch
    finally:
        _CURRENT.remove(watch)
