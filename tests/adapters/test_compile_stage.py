"""What serves a model: the fastest conversion that passes, else scikit-learn itself; wrong conversions are named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from adapters.fitted_models import COLUMNS, TYPES, fitted, visits
from towpath.adapters.mlflow_models_saved import save
from towpath.adapters.mlflow_models_types import unreviewed
from towpath.adapters.model_scan_scanner import ModelScanner
from towpath.adapters.runtimes import ServingRuntimes
from towpath.core.evidence import Outcome, Severity, worst
from towpath.core.serving import Serving
from towpath.measure.parity import parity, reference
from towpath.ports import Compiled, Runtime, Runtimes
from towpath.stages.compile import Served, compiled
from towpath.stages.scoring import Scoring
from towpath.stages.work import Work

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning", "ignore::RuntimeWarning"
)
HOLDOUT = visits(200)[0]


class Nothing(ServingRuntimes):
    """A machine on which no converter is installed."""

    def compile(
        self, model: object, *, columns: Sequence[str], types: Mapping[str, str], folder: Path
    ) -> tuple[Compiled, ...]:
        return ()


class Off:
    """A runtime that is off by a little, as a conversion to 32 bits is."""

    inline, columns = True, COLUMNS

    def __init__(self, inner: Runtime) -> None:
        self.kind = inner.kind
        self._inner = inner

    def predict(self, rows: Sequence[Sequence[object]]) -> list[float]:
        return [one + 1e-7 for one in self._inner.predict(rows)]

    async def predict_apart(self, rows: Sequence[Sequence[object]]) -> list[float]:
        return self.predict(rows)

    def close(self) -> None: ...


class SomeOff(ServingRuntimes):
    """Conversions of these kinds are off by a little."""

    def __init__(self, *kinds: str) -> None:
        self._kinds = kinds

    def open(self, kind: str, file: Path, *, columns: Sequence[str], types: Mapping[str, str]) -> Runtime:
        opened = super().open(kind, file, columns=columns, types=types)
        return Off(opened) if kind in self._kinds else opened


def serve(kind: str, folder: Path, runtimes: Runtimes, *, tolerance: float = 1e-6) -> Served:
    saved = folder / "saved"
    save(fitted(kind), example=HOLDOUT, prediction=fitted(kind).predict_proba(HOLDOUT)[:, 1], folder=saved)
    work = SimpleNamespace(
        ports=SimpleNamespace(runtimes=runtimes, supply=SimpleNamespace(scanner=ModelScanner(types=unreviewed))),
        project=SimpleNamespace(charter=SimpleNamespace(serving=Serving(parityTolerance=tolerance))),
    )
    return compiled(
        fitted(kind),
        saved,
        holdout=HOLDOUT,
        columns=COLUMNS,
        types=TYPES,
        work=cast("Work", work),
        folder=folder / "compiled",
        scoring=Scoring(),
    )


def outcomes(served: Served) -> dict[str, Any]:
    return {finding.subject: (finding.outcome, finding.severity) for finding in served.findings}


PASSED, LEFT_OUT = (Outcome.PASS, Severity.ERROR), (Outcome.FAIL, Severity.WARNING)


def test_the_fastest_serves(tmp_path: Path) -> None:
    served = serve("boosted", tmp_path, ServingRuntimes())
    assert outcomes(served) == dict.fromkeys(("trees", "treelite", "onnx"), PASSED)
    assert served.kind == "trees"
    assert served.file is not None
    assert served.file.is_file()
    assert served.chosen.subject == "trees"


def test_the_first_within_the_tolerance_serves(tmp_path: Path) -> None:
    assert serve("boosted", tmp_path / "loose", SomeOff("trees")).kind == "trees"
    served = serve("boosted", tmp_path / "tight", SomeOff("trees"), tolerance=1e-9)
    assert outcomes(served) == {"trees": LEFT_OUT, "treelite": PASSED, "onnx": PASSED}
    assert served.kind == "treelite"
    assert worst(served.findings) is Outcome.PASS


@pytest.mark.slow
def test_wrong_conversions_are_left_out_and_scikit_learn_serves(tmp_path: Path) -> None:
    served = serve("boosted", tmp_path, SomeOff("trees", "treelite", "onnx"), tolerance=1e-9)
    assert outcomes(served) == {**dict.fromkeys(("trees", "treelite", "onnx"), LEFT_OUT), "sklearn": PASSED}
    assert (served.kind, served.file) == ("sklearn", None)
    assert worst(served.findings) is Outcome.PASS
    assert "because no conversion is near enough" in served.chosen.reason


def test_a_converter_that_makes_another_model_is_found_out(tmp_path: Path) -> None:
    """Trees that split by category themselves: skl2onnx converts them without an error, and wrongly."""
    runtimes, given = ServingRuntimes(), dict[str, Any](columns=COLUMNS, types=TYPES)
    made = runtimes.compile(fitted("by category"), folder=tmp_path, **given)
    truth = reference(fitted("by category"), HOLDOUT, **given)
    (onnx,) = [one for one in made if one.kind == "onnx"]
    finding = parity(runtimes.open("onnx", onnx.file, **given), truth, tolerance=1e-6)
    assert (finding.outcome, finding.severity) == LEFT_OUT
    assert "differs on" in finding.reason
    assert float(finding.measured or 0) > 0.01


@pytest.mark.slow
def test_nothing_converts_and_scikit_learn_serves(tmp_path: Path) -> None:
    served = serve("boosted", tmp_path, Nothing())
    assert (served.kind, served.file) == ("sklearn", None)
    assert outcomes(served) == {"sklearn": PASSED}
    assert "it serves itself, because no conversion of the model is known" in served.chosen.reason
