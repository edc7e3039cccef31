"""The gateway merges its log behind everything else: its own workers' files, and what fails later again."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from towpath.core.errors import Unreachable
from towpath.gateway.compacting import Compactor
from towpath.gateway.metrics import Metrics

METRICS = Metrics()


class Log:
    """Merges two files of each project, or does not answer."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, set[str]]] = []
        self.down: set[str] = set()
        self.looked = threading.Event()
        self.nice = 0

    def run(self, project: str, *, workers: set[str], stopped: Callable[[], bool]) -> int:
        self.asked.append((project, workers))
        self.nice = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        self.looked.set()
        if project in self.down:
            raise Unreachable("The store does not answer.")
        return 0 if stopped() else 2


def _compactor(log: Log, **more: float) -> Compactor:
    return Compactor(log, ["flights", "trains"], workers=lambda: {"w1"}, metrics=METRICS, **more)


def test_a_project_whose_log_fails_does_not_keep_the_others() -> None:
    log = Log()
    merged, failures = METRICS.log_merged._value.get(), METRICS.compact_failures._value.get()
    log.down = {"flights"}
    _compactor(log).look()
    assert log.asked == [("flights", {"w1"}), ("trains", {"w1"})]
    assert METRICS.log_merged._value.get() == merged + 2
    assert METRICS.compact_failures._value.get() == failures + 1


def test_it_runs_behind_everything_else_until_it_is_stopped() -> None:
    log = Log()
    compactor = _compactor(log, seconds=0.01)
    compactor.start()
    assert log.looked.wait(30)
    compactor.stop()
    assert not compactor.is_alive()
    assert log.nice >= 15
    count = len(log.asked)
    compactor.stop()
    assert len(log.asked) == count


def test_one_that_never_ran_can_be_stopped() -> None:
    _compactor(Log()).stop()
