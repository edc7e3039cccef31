"""The port `Runtimes`: every way to serve a model, the fastest first."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from towpath.adapters import runtime_plan as plans
from towpath.adapters.runtime_classes import is_known
from towpath.adapters.runtime_onnx import OnnxRuntime, compile_onnx
from towpath.adapters.runtime_plan import NotConvertible
from towpath.adapters.runtime_sklearn import SklearnRuntime
from towpath.adapters.runtime_treelite import TreeliteRuntime, compile_treelite
from towpath.adapters.runtime_trees import TreesRuntime, compile_trees
from towpath.core.errors import NotFound
from towpath.ports import Compiled, Runtime

_LOG = logging.getLogger(__name__)
_OPENERS: Mapping[str, Callable[[Path], Runtime]] = {
    "trees": TreesRuntime,
    "treelite": TreeliteRuntime,
    "onnx": OnnxRuntime,
}
KINDS = (*_OPENERS, "sklearn")


class ServingRuntimes:
    """Compiles fitted classifiers of 0 and 1, or of three classes and more, and opens what was compiled."""

    def compile(
        self, model: object, *, columns: Sequence[str], types: Mapping[str, str], folder: Path
    ) -> tuple[Compiled, ...]:
        """Every conversion that succeeds, the fastest first. Whether it is right is for its parity to say."""
        folder.mkdir(parents=True, exist_ok=True)
        if not is_known(model):
            _LOG.info("not compiled: the model is no classifier of 0 and 1, or of three classes and more")
            return ()
        try:
            known = plans.read(model, columns=columns, types=types)
        except NotConvertible:
            known = None
        ways: dict[str, Callable[[Path], None]] = {}
        if known is not None:
            ways |= {"trees": partial(compile_trees, known), "treelite": partial(compile_treelite, known)}
        ways["onnx"] = lambda file: compile_onnx(model, known, file, columns=columns, types=types)
        found = []
        for kind, convert in ways.items():
            file = folder / f"runtime.{kind}"
            try:
                convert(file)
            except NotConvertible as why:
                _LOG.info("not compiled: kind=%s why=%s", kind, why)
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
