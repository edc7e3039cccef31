"""What proving an attestation adds to loading a model, for every way in which models are served.

A model of the example's size (200 trees of 31 leaves) is registered and attested, then loaded as a gateway does it,
which follows the ledger and so has read the attestation. Of each load two times are taken: the proof (the signature
verified with the trusted key, the statement held against the candidate), and the whole: the proof, the stored bytes
digested, the model opened.
`warm` is the median of many loads in one process. `cold` is that of first loads, each in a process which has imported
what a gateway has; OpenSSL's first verification of a curve costs milliseconds, once, and so `cold` is also held against
`start`, the time from the process' begin to the loaded model. The digest of the bytes is taken with or without
signatures, and is shown by itself.

Run by `make bench-verify`: `python tests/bench/verify.py [--loads N] [--processes N]`. Exit code 1 when the proof takes
5 % or more of a warm load, or of a start.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from adapters.fitted_models import COLUMNS, TYPES, _trees, visits
from supply.house import House, opened, registered
from towpath import wiring
from towpath.adapters.mlflow_models_saved import save
from towpath.core.evidence import Candidate, Record
from towpath.settings import Settings
from towpath.stages.attest import attest_again
from towpath.stages.attested import require_attested
from towpath.stages.serving import Head, approved

BAR = 0.05
TREES, LEAVES = 200, 31
SHOWN = ("proof ms", "digest ms", "load ms", "proof/load", "start ms", "proof/start")
KINDS = ("trees", "treelite", "onnx", "sklearn")


def prepare(state: Path) -> None:
    """A registered and attested candidate for each kind of compiled file."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    frame, target = visits(20_000)
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


@contextmanager
def house(state: Path, kind: str) -> Iterator[House]:
    candidate = Candidate.model_validate_json((state / f"{kind}.json").read_text(encoding="utf-8"))
    with opened(state) as (world, keys):
        yield House(state=state, world=world, keys=keys, candidate=candidate, other=candidate)


def load(found: House, kind: str, known: Sequence[Record]) -> None:
    shutil.rmtree(found.state / "loading", ignore_errors=True)
    found.load(compiled=kind != "sklearn", known=known).close()


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def timed(act: Callable[[], Any]) -> float:
    """Milliseconds."""
    begun = time.perf_counter()
    act()
    return (time.perf_counter() - begun) * 1e3


def measure(state: Path, kind: str, loads: int) -> dict[str, list[float]]:
    """Of each load the proof, the digest of the bytes and the whole, in turns."""
    with house(state, kind) as found:
        described = approved(found.candidate)
        head = Head()
        head.moved(found.world.ledger)
        known = head.attestations(found.candidate.id)
        assert known
        times: dict[str, list[float]] = {"proof": [], "bytes": [], "load": []}
        for _ in range(loads):
            proof = partial(require_attested, found.world.ledger, found.keys, described.claims, known=known)
            times["proof"].append(timed(proof))
            times["load"].append(timed(lambda: load(found, kind, known)))
            if described.runtime is not None and kind != "sklearn":
                digest = described.runtime.digest
                times["bytes"].append(timed(partial(found.world.objects.fetch, digest)))
        return times


def cold(state: Path, kind: str) -> dict[str, list[float]]:
    """The same, of the first load of a process of its own."""
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, __file__, "--child", kind, str(state)], capture_output=True, text=True, check=True
    )
    whole = (time.perf_counter() - begun) * 1e3
    return {**json.loads(done.stdout.splitlines()[-1]), "start": [whole]}


def report(state: Path, loads: int, processes: int) -> bool:
    good = True
    heads = (f"{name:>{width}}" for name, width in zip(SHOWN, (10, 11, 10, 12, 10, 13), strict=True))
    say(" " * 16 + "".join(heads))
    for kind in KINDS:
        firsts = [cold(state, kind) for _ in range(processes)]
        both = {
            "cold": {name: [one[name][0] for one in firsts if one[name]] for name in firsts[0]},
            "warm": measure(state, kind, loads if kind != "sklearn" else max(3, loads // 20)),
        }
        for name, times in both.items():
            proof, whole = statistics.median(times["proof"]), statistics.median(times["load"])
            digest = f"{statistics.median(times['bytes']):.2f}" if times["bytes"] else "-"
            line = f"{kind:10}{name:6}{proof:10.2f}{digest:>11}{whole:10.1f}{proof / whole:12.1%}"
            if name == "cold":
                whole = statistics.median(times["start"])
                line += f"{whole:10.0f}{proof / whole:13.2%}"
            good = good and proof < BAR * whole
            say(line)
    say(f"bar: {BAR:.0%}: {'met' if good else 'MISSED'}")
    return good


def main() -> int:
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--loads", type=int, default=60)
    parser.add_argument("--processes", type=int, default=5)
    parser.add_argument("--child", nargs=2)
    given = parser.parse_args()
    if given.child:
        import towpath.gateway.worker  # noqa: F401 - what a gateway has imported before it loads anything

        say(json.dumps(measure(Path(given.child[1]), given.child[0], 1)))
        return 0
    with tempfile.TemporaryDirectory(prefix="towpath-bench-") as folder:
        state = Path(folder) / "state"
        prepare(state)
        return 0 if report(state, given.loads, given.processes) else 1


if __name__ == "__main__":
    sys.exit(main())
