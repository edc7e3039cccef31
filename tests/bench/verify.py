"""What proving an attestation adds to loading a model, for every way in which models are served.

A model of the example's size (200 trees of 31 leaves) is registered and attested, then loaded as a gateway does it. Of
a load two spans are taken: the proof (the signature verified with the trusted key, the statement held against the
candidate), and the whole: the proof, the stored bytes digested, the model opened. The digest of the bytes is taken with
or without signatures, and is shown by itself. Of each span the processor's time is taken and the clock's: the first
does not depend on who else uses the machine, and is what the bar is held to.

`first` is the first load of a process, the median of several: each has imported what a gateway's worker has, follows
the ledger and has verified it, as a worker does before it loads anything. `bare` is the same without the ledger
verified, and with the runtime's libraries imported before: the proof pays for all that OpenSSL does once in a process,
and the load for nothing of the kind. `warm` is the median of many loads in one process.

Run by `make bench-verify`: `python tests/bench/verify.py [--loads N] [--processes N]`. Exit code 1 when the proof takes
5 % or more of a first load. Takes a minute of a processor.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import towpath.gateway.worker  # noqa: F401 - what a gateway has imported before it loads anything
from towpath import wiring
from towpath.core.evidence import Candidate, Record
from towpath.gateway import loading
from towpath.settings import Settings
from towpath.stages.serving import Approved, Head, approved

BAR = 0.05
TREES, LEAVES = 200, 31
KINDS = ("trees", "treelite", "onnx", "sklearn")
SHOWN = ("proof ms", "digest ms", "load ms", "proof/load", "proof/load by clock")
LIBRARIES = ("numpy", "onnxruntime", "treelite.gtil.gtil", "towpath.adapters.runtime_treelite")
Span = tuple[float, float]
"""Milliseconds of the processor, in this process, and of the clock."""


def prepare(state: Path) -> None:
    """A registered and attested candidate for each kind of compiled file."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    from adapters.fitted_models import COLUMNS, TYPES, _trees, visits
    from supply.house import opened, registered
    from towpath.adapters.mlflow_models_saved import save
    from towpath.stages.attest import attest_again

    frame, target = visits(10_000)
    estimator = HistGradientBoostingClassifier(
        max_iter=TREES, max_leaf_nodes=LEAVES, min_samples_leaf=20, early_stopping=False, random_state=1
    )
    model = _trees(estimator).fit(frame, target)
    saved = state / "models" / "model"
    save(model, example=frame.head(50), prediction=model.predict_proba(frame.head(50))[:, 1], folder=saved)
    runtimes = wiring.open_runtimes(Settings.read({}, folder=state))
    made = {
        one.kind: one.file for one in runtimes.compile(model, columns=COLUMNS, types=TYPES, folder=state / "compiled")
    }
    with opened(state) as (world, _):
        for kind in KINDS:
            shutil.copytree(saved, state / "models" / kind, dirs_exist_ok=True)
            compiled = kind if kind in made else next(iter(made))  # scikit-learn is loaded from the saved folder
            candidate = registered(world, state / "models" / kind, made[compiled], kind, kind=compiled)
            attest_again(candidate, world)
            (state / f"{kind}.json").write_text(candidate.model_dump_json(), encoding="utf-8")


def processor() -> float:
    """Seconds of the processor that this process and those that it started, and which ended, have had."""
    own, ended = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + ended.ru_utime + ended.ru_stime


@dataclass
class Watched:
    """Puts itself in a function's place and takes the spans of its calls."""

    act: Callable[..., Any]
    spans: list[Span] = field(default_factory=list)

    def __call__(self, *given: Any, **named: Any) -> Any:
        used, clock = processor(), time.perf_counter()
        try:
            return self.act(*given, **named)
        finally:
            self.spans.append(((processor() - used) * 1e3, (time.perf_counter() - clock) * 1e3))


@contextmanager
def running() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop in a thread of its own, as a worker's."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def measure(state: Path, kind: str, loads: int, *, bare: bool) -> dict[str, list[Span]]:
    """Of each load by a gateway's loader the proof, the digest of the bytes, and the whole."""
    settings = Settings.read({"TOWPATH_STATE": str(state), "TOWPATH_ACTOR": "bench"}, folder=state.parent)
    described = approved(Candidate.model_validate_json((state / f"{kind}.json").read_text(encoding="utf-8")))
    if kind == "sklearn":
        described = replace(described, runtime=None)
    stores = loading.Stores(
        objects=wiring.open_objects(settings),
        models=partial(saved_in, state / "models"),
        runtimes=wiring.open_runtimes(settings),
        keys=wiring.open_keys(settings),
        scratch=state / "scratch",
    )
    loading.require_attested = proof = Watched(loading.require_attested)  # type: ignore[assignment]
    whole, digest = Watched(load), Watched(stores.objects.fetch)
    with closing(wiring.open_ledger(settings)) as ledger, running() as loop:
        head = Head()
        head.moved(ledger)
        known = head.attestations(described.candidate)
        assert known
        if bare:
            for name in LIBRARIES:
                importlib.import_module(name)
        else:
            head.require_whole(ledger)
        for _ in range(loads):
            whole(loading.Loader(stores, loop, ledger), described, known)
            if described.runtime is not None:
                digest(described.runtime.digest)
    return {"proof": proof.spans, "digest": digest.spans, "load": whole.spans}


def load(loader: loading.Loader, described: Approved, known: list[Record]) -> None:
    """To the end of the model's own process where it has one: only then is known what it took of the processor."""
    loader.get(described, known)
    if described.runtime is None:
        loader.close()


def saved_in(folder: Path) -> Any:
    from supply.house import FolderModels

    return FolderModels(folder)


def apart(state: Path, kind: str, loads: int, *, bare: bool = False) -> dict[str, list[Span]]:
    """The same in a process of its own."""
    command = [sys.executable, __file__, "--child", kind, str(state), "--loads", str(loads), *["--bare"][: int(bare)]]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, list[Span]] = json.loads(done.stdout.splitlines()[-1])
    return found


def joined(found: list[dict[str, list[Span]]]) -> dict[str, list[Span]]:
    return {name: [span for one in found for span in one[name]] for name in found[0]}


def report(state: Path, loads: int, processes: int) -> bool:
    good = True
    say(" " * 16 + "".join(f"{name:>{len(name) + 3}}" for name in SHOWN))
    for kind in KINDS:
        slow = kind == "sklearn"  # seconds a load, in a process of its own
        rows = {
            "bare": joined([apart(state, kind, 1, bare=True) for _ in range(processes)]) if not slow else None,
            "first": joined([apart(state, kind, 1) for _ in range(processes if not slow else 1)]),
            "warm": apart(state, kind, loads if not slow else 2),
        }
        for name, times in rows.items():
            if times is None:
                continue
            (proof, proof_clock), (whole, whole_clock) = (middle(times[span]) for span in ("proof", "load"))
            digest = f"{middle(times['digest'])[0]:.2f}" if times["digest"] else "-"
            shares = f"{proof / whole:13.1%}{proof_clock / whole_clock:22.1%}"
            say(f"{kind:10}{name:6}{proof:11.2f}{digest:>12}{whole:10.1f}{shares}")
            good = good and (name != "first" or proof < BAR * whole)
    say(f"bar: {BAR:.0%} of a first load: {'met' if good else 'MISSED'}")
    return good


def middle(spans: list[Span]) -> Span:
    return statistics.median(span[0] for span in spans), statistics.median(span[1] for span in spans)


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> int:
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--loads", type=int, default=60)
    parser.add_argument("--processes", type=int, default=3)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--bare", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        kind, state = given.child
        say(json.dumps(measure(Path(state), kind, given.loads, bare=given.bare)))
        return 0
    with tempfile.TemporaryDirectory(prefix="towpath-bench-") as folder:
        state = Path(folder) / "state"
        prepare(state)
        return 0 if report(state, given.loads, given.processes) else 1


if __name__ == "__main__":
    sys.exit(main())
