"""What the evidence costs: the path's wall time against a plain script that makes the same library calls.

Each side runs in a process of its own, imports included, in turns (path, plain, path, plain, …); the ratio is that of
the medians. The plain script reads the same CSV files with DuckDB, lets Great Expectations run the same expectations,
runs the same SQL, calls Feast, scikit-learn and MLflow, and measures, ranks and plots with the same functions. It
leaves out what makes evidence: digests, the object store, the ledger, quarantine, replay, verification of stored bytes,
leakage checks, the model card.

Run by `make bench`: `python tests/bench/path_overhead.py [--runs N]`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

STAGES = ("import", "ingest", "validate", "featurize", "train", "evaluate", "register")


class Clock:
    """Seconds by stage; told as the port `Progress` is."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._begun = 0.0

    def begin(self, stage: str) -> None:
        self._begun = time.perf_counter()

    def step(self, what: str) -> None:
        """Steps are not timed."""

    def found(self) -> None:
        raise AssertionError("the benchmark found an entry of an earlier run")

    def end(self, stage: str, outcome: str) -> None:
        self.seconds[stage] = time.perf_counter() - self._begun

    @contextmanager
    def of(self, stage: str) -> Iterator[None]:
        self.begin(stage)
        yield
        self.end(stage, "")


def go_the_path(folder: Path, state: Path) -> dict[str, float]:
    """The path as `towpath run` goes it."""
    clock = Clock()
    with clock.of("import"):
        from towpath import project, wiring
        from towpath.example.workspace import AS_OF
        from towpath.settings import Settings
        from towpath.stages.sequence import run
    settings = Settings.read({"TOWPATH_STATE": str(state), "TOWPATH_ACTOR": "bench"}, folder=folder)
    work = wiring.open_work(settings, project.load(folder), as_of=AS_OF, progress=clock)
    candidate = run(work)
    work.ports.ledger.close()
    if candidate.outcome != "PASS":
        raise SystemExit(
            f"the path refused the example: {[f.reason for f in candidate.findings if f.outcome != 'PASS']}"
        )
    return clock.seconds


def go_plainly(folder: Path, state: Path) -> dict[str, float]:
    """A script without evidence, with the same library calls in the same order."""
    clock = Clock()
    with clock.of("import"):
        from towpath import telemetry

        telemetry.silence()
        import duckdb
        import pandas as pd

        from towpath import project
        from towpath.example.workspace import AS_OF

    state.mkdir(parents=True)
    loaded = project.load(folder)
    charter = loaded.charter
    with clock.of("ingest"):
        tables = {}
        for table, source in charter.sources.items():
            path = folder / source.uri
            column = loaded.contracts[table].event_time(table)
            until = f"WHERE {column} < TIMESTAMPTZ '{AS_OF.isoformat()}'" if column else ""
            tables[table] = state / f"{table}.parquet"
            files = path if path.is_file() else path / "*.csv"
            duckdb.sql(
                f"COPY (SELECT * FROM read_csv('{files}', sample_size = -1) {until}) "
                f"TO '{tables[table]}' (FORMAT parquet, COMPRESSION zstd)"
            )
    with clock.of("validate"):
        _expectations(tables, loaded, AS_OF)
    with clock.of("featurize"):
        joined = _features(loaded, tables, AS_OF, state)
    split = pd.Timestamp(AS_OF - charter.training.holdout)
    frame = pd.read_parquet(joined)
    early = (frame["event_timestamp"] < split) & (frame["label_timestamp"] < split)
    train, holdout = frame[early], frame[frame["event_timestamp"] >= split]
    columns = [*charter.features.request, *_feature_names(loaded)]
    with clock.of("train"):
        model, info = _train(loaded, train, columns, state)
    with clock.of("evaluate"):
        _evaluate(loaded, model, train, holdout, columns, state)
    with clock.of("register"):
        import mlflow

        mlflow.register_model(info.model_uri, charter.project)
    return clock.seconds


def _expectations(tables: dict[str, Path], loaded: Any, as_of: Any) -> None:
    from towpath.adapters.great_expectations_checks import GreatExpectationsChecks
    from towpath.core.checks import checks_of
    from towpath.core.checks_verdict import Observed

    checker = GreatExpectationsChecks()
    contracts = loaded.contracts
    checks = dict(enumerate(check for contract in contracts.values() for check in checks_of(contract)))
    by_table = {name: contract.tables[name] for name, contract in contracts.items()}
    with checker._opened(tables) as opened:
        checker._validate(opened, checks, {number: Observed() for number in checks}, by_table, as_of)


def _features(loaded: Any, tables: dict[str, Path], as_of: Any, state: Path) -> Path:
    from towpath.adapters.duckdb_transforms import DuckdbTransforms
    from towpath.adapters.feast_features import FeastFeatures
    from towpath.ports import Window

    training = loaded.charter.training
    sources = state / "features" / "sources"
    sources.mkdir(parents=True)
    window = Window(start=as_of - training.holdout - training.span, end=as_of)
    built = DuckdbTransforms().build(loaded.repository, tables, window=window, target=sources)
    store, service = FeastFeatures(), loaded.charter.features.service
    joined = state / "joined.parquet"
    store.training_set(loaded.repository, service, sources=sources, spine=built.spine, target=joined)
    store.materialize(loaded.repository, service, sources=sources, until=as_of)
    store.parity(loaded.repository, service, sources=sources, spine=built.spine, until=as_of, sample=200, folder=state)
    return joined


def _feature_names(loaded: Any) -> list[str]:
    from towpath.adapters.feast_features import FeastFeatures

    views = FeastFeatures().views(loaded.repository, loaded.charter.features.service)
    return [name for view in sorted(views, key=lambda item: item.name) for name in view.features]


def _train(loaded: Any, train: Any, columns: list[str], state: Path) -> tuple[Any, Any]:
    import mlflow
    from sklearn.metrics import log_loss

    from towpath.adapters.mlflow_models_saved import TRUSTED_TYPES

    training = loaded.charter.training
    rows = train.sort_values("event_timestamp", kind="stable")
    inputs, target = rows[columns], rows[training.target]
    cut, fit, losses = int(len(rows) * 0.8), loaded.fit(), []
    for params in training.sweep:
        tried = fit(inputs.iloc[:cut], target.iloc[:cut], params=dict(params), seed=training.seed)
        losses.append(log_loss(target.iloc[cut:], tried.predict_proba(inputs.iloc[cut:])[:, 1]))
    best = dict(training.sweep[losses.index(min(losses))])
    model = fit(inputs, target, params=best, seed=training.seed)
    mlflow.set_tracking_uri(f"sqlite:///{state / 'mlflow.db'}")
    mlflow.set_experiment(experiment_id=mlflow.create_experiment("bench", (state / "artifacts").as_uri()))
    with mlflow.start_run():
        mlflow.log_params(best)
        info = mlflow.sklearn.log_model(
            model,
            name="model",
            serialization_format="skops",
            skops_trusted_types=list(TRUSTED_TYPES),
            input_example=inputs.head(5),
            pip_requirements=["scikit-learn", "skops"],
        )
    return model, info


def _evaluate(loaded: Any, model: Any, train: Any, holdout: Any, columns: list[str], state: Path) -> None:
    from threadpoolctl import threadpool_limits

    from towpath.measure import gates, importance, plots

    charter = loaded.charter
    target = holdout[charter.training.target].to_numpy()
    scores = model.predict_proba(holdout[columns])[:, 1]
    latencies = []
    with threadpool_limits(limits=1):
        for number in range(210):
            begun = time.perf_counter()
            model.predict_proba(holdout[columns].iloc[[number]])
            latencies.append((time.perf_counter() - begun) * 1e3)
    found = gates.evaluate(
        gates.Holdout(
            labels=target,
            candidate=scores,
            base_rate=float(train[charter.training.target].mean()),
            columns={part.by: holdout[part.by].to_numpy() for part in charter.gates.slices},
            latencies_ms=latencies[10:],
        ),
        charter.gates,
        seed=charter.training.seed,
    )
    ranked = importance.importance(lambda rows: model.predict_proba(rows)[:, 1], holdout[columns], target)
    plots.calibration(state / "calibration.png", target, scores, found.metrics, bound=charter.gates.calibration)
    plots.roc(state / "roc.png", target, scores, found.metrics, bound=charter.gates.roc_auc)
    plots.importances(state / "importance.png", ranked)
    plots.groups(state / "slices.png", found.groups)


def _process(side: str, folder: Path, state: Path) -> dict[str, float]:
    begun = time.perf_counter()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TOWPATH_")}
    done = subprocess.run(
        [sys.executable, __file__, "--side", side, "--folder", str(folder), "--state", str(state)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"{side} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    seconds: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return {**seconds, "whole process": time.perf_counter() - begun}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--side", choices=["path", "plain"])
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--state", type=Path)
    chosen = parser.parse_args()
    if chosen.side:
        go = go_the_path if chosen.side == "path" else go_plainly
        sys.stdout.write("\n" + json.dumps(go(chosen.folder, chosen.state)) + "\n")
        return
    from towpath.example.workspace import lay

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "flights"
        lay(folder, told=lambda _: None)
        runs: dict[str, list[dict[str, float]]] = {"path": [], "plain": []}
        for number in range(chosen.runs):
            for side, taken in runs.items():
                taken.append(_process(side, folder, Path(scratch) / f"{side}-{number}"))
    packages = ("duckdb", "great_expectations", "feast", "mlflow", "scikit-learn")
    versions = {"python": platform.python_version(), **{name: metadata.version(name) for name in packages}}
    _print(f"machine   {os.cpu_count()} cores, {platform.machine()}, {platform.system()}")
    _print(f"versions  {', '.join(f'{name} {version}' for name, version in versions.items())}")
    _print(f"rows      153,461 raw, 105,202 to train, 27,914 held out; {chosen.runs} runs a side, medians, seconds\n")
    _print(f"{'stage':<14}{'path':>8}{'plain':>8}{'ratio':>8}")
    for stage in (*STAGES, "whole process"):
        path, plain = (statistics.median(run[stage] for run in runs[side]) for side in ("path", "plain"))
        _print(f"{stage:<14}{path:>8.1f}{plain:>8.1f}{path / plain:>8.2f}")


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
