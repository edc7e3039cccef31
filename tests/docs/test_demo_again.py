"""The demo a second time: everything is found, nothing is computed, no request is sent."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from docs.conftest import Shell

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_a_second_demo_writes_nothing(shell_after_demo: Callable[[], Shell]) -> None:
    shell = shell_after_demo()
    before = shell.run("towpath ledger verify --json")
    again = shell.run("towpath demo --json")
    assert again.code == 0, again.out + again.err
    told = json.loads(again.out)
    assert told["canary"] == {"reused": True}
    assert all(stage["reused"] for stage in [*told["path"]["stages"], *told["monitor"]["stages"]])
    assert shell.run("towpath ledger verify --json").out == before.out
