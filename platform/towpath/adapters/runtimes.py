"""The port `Runtimes`: every way to serve a model, the fastest first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from towpath.adapters.runtime_onnx import OnnxRuntime, compile_onnx
from towpath.adapters.runtime_plan import NotConvertible
from towpath.adapters.runtime_sklearn import SklearnRuntime
from towpath.adapters.runtime_treelite import TreeliteRuntime, compile_treelite
from towpath.adapters.runtime_trees import TreesRuntime, compile_trees
from towpath.core.errors import NotFound
from towpath.ports import Compiled, Runtime


class _Compile(Protocol):
    def __call__(self, model: object, *, columns: Sequence[str], types: Mapping[str, str], file: Path) -> None: ...


_COMPILERS: Mapping[str, _Compile] = {"trees": compile_trees, "treelite": compile_treelite, "onnx": compile_onnx}
_OPENERS: Mapping[str, Callable[[Path], Runtime]] = {
    "trees": TreesRuntime,
    "treelite": TreeliteRuntime,
    "onnx": OnnxRuntime,
}
KINDS = (*_OPENERS, "sklearn")


class ServingRuntimes:
    """Compiles fitted classifiers and opens what was compiled."""

    def compile(
        self, model: object, *, columns: Sequence[str], types: Mapping[str, str], folder: Path
    ) -> tuple[Compiled, ...]:
        """Every conversion that succeeds, the fastest first. Whether it is right is for its parity to say."""
        folder.mkdir(parents=True, exist_ok=True)
        found = []
        for kind, convert in _COMPILERS.items():
            file = folder / f"runtime.{kind}"
            try:
                convert(model, columns=columns, types=types, file=file)
            except NotConvertible:
                continue
            found.append(Compiled(kind=kind, file=file))
        return tuple(found)

    def open(self, kind: str, file: Path, *, columns: Sequence[str], types: Mapping[str, str]) -> Runtime:
        """A runtime ready to score. Raises `NotFound` for a kind that there is not, `IntegrityError` for bad files."""
        if kind == "sklearn":
            return SklearnRuntime(file, columns=columns, types=types)
        if kind not in _OPENERS:
            raise NotFound(f"There is no runtime {kind!r}.", value=kind, valid=KINDS)
        return _OPENERS[kind](file)
