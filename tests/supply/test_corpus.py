"""Every malicious or broken folder is refused, and nothing of it was loaded to find that out."""

from __future__ import annotations

from pathlib import Path

import pytest

from supply.corpus import CASES
from supply.house import Good
from supply.watch import Watch
from towpath import wiring
from towpath.core.evidence import Outcome
from towpath.stages.supply import refused


@pytest.mark.parametrize("case", CASES)
def test_is_refused_unread(case: str, folder: Path, watch: Watch) -> None:
    CASES[case](folder, watch.canary)
    scanner = wiring.open_supply().scanner
    with watch.nothing_loaded():
        findings = scanner.inspect(folder, subject="model")
    assert refused(findings)
    assert {finding.code for finding in findings} == {"register.format", "register.scan"}
    assert findings[0].outcome is Outcome.FAIL, findings


def test_good_models_pass(good: Good, watch: Watch) -> None:
    scanner = wiring.open_supply().scanner
    with watch.nothing_loaded():
        found = [scanner.inspect(path, subject="x") for path in (good.saved, good.compiled, good.other_saved)]
    assert [finding.outcome for findings in found for finding in findings] == [Outcome.PASS] * 6


@pytest.mark.parametrize("loader", ["pickle", "skops", "system"])
def test_the_watch_bites(loader: str, folder: Path, watch: Watch) -> None:
    import os
    import pickle

    import skops.io

    acts = {
        "pickle": lambda: pickle.loads(b"\x80\x04N."),
        "skops": lambda: skops.io.load(folder / "model.skops"),
        "system": lambda: os.system("true"),
    }
    with pytest.raises(AssertionError), watch.nothing_loaded():
        acts[loader]()


@pytest.mark.parametrize("case", ["pickle protocol 0", "pickle of subprocess", "array of objects within skops"])
def test_modelscan_itself_finds_code_under_any_name(case: str, folder: Path, watch: Watch) -> None:
    CASES[case](folder, watch.canary)
    for file in folder.glob("*.pkl"):
        file.rename(folder / "innocent.txt")
    _, scanned = wiring.open_supply().scanner.inspect(folder, subject="model")
    assert scanned.outcome is Outcome.FAIL
    assert "modelscan finds" in scanned.reason
