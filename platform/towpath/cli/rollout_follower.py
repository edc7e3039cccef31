"""MLflow shows the ledger's champion, some time after the controller made one.

In a process of its own: MLflow that hangs, or only loads, must not keep traffic on a challenger. The controller asks
and goes on; what could not be shown is tried again later.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from typing import Final

from towpath.ports import Ledger
from towpath.stages.work import champion

AGAIN_SECONDS: Final = 60.0
"""Between two tries."""
FINISH_SECONDS: Final = 60.0
"""That a try under way gets when the controller leaves."""

_logger = logging.getLogger(__name__)


class Follower:
    """Starts `towpath rollout mirror` whenever MLflow may not show the champion yet."""

    def __init__(self, ledger: Ledger, project: str) -> None:
        self._ledger = ledger
        self._project = project
        self._shown: str | None = None
        self._trying = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._tried = -AGAIN_SECONDS

    def ask(self) -> None:
        """See to it that MLflow shows the champion, soon. Returns at once."""
        self._look()
        current = champion(self._ledger, self._project)
        if current is None or self._process is not None or current.decision.hash == self._shown:
            return
        if current.decision.hash == self._trying and time.monotonic() - self._tried < AGAIN_SECONDS:
            return
        command = [sys.executable, "-m", "towpath.cli", "rollout", "mirror", self._project]
        self._trying, self._tried = current.decision.hash, time.monotonic()
        self._process = subprocess.Popen(  # noqa: S603 - our own command
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def finish(self) -> None:
        """Wait for a try that is under way, but not for ever."""
        if self._process is None:
            return
        try:
            self._process.wait(FINISH_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._look()

    def _look(self) -> None:
        code = self._process.poll() if self._process is not None else None
        if code is None:
            return
        self._process = None
        if code == 0:
            self._shown = self._trying
        else:
            _logger.warning("project=%s MLflow does not show the champion yet: exit code %d", self._project, code)
