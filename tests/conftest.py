"""Servers that tests may ask for, the environment that all of them run in, and which of them share what was built."""

from __future__ import annotations

from typing import Any, Final

import pytest
from xdist.scheduler import LoadScopeScheduling

from towpath import telemetry

pytest_plugins = ["servers.oidc", "servers.postgres", "servers.redis", "servers.s3", "servers.spark"]

telemetry.silence()

_SHARING: Final = {"bypass", "console", "docs", "flows", "gateway", "path", "reconcile", "spark"}
"""Folders whose tests share something that takes long to build."""


class _Sharing(LoadScopeScheduling):
    """Gives each folder that shares what it builds to one process, and every other test to whoever is free."""

    def _split_scope(self, nodeid: str) -> str:
        folder = nodeid.split("/")[1]
        return folder if folder in _SHARING else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    return _Sharing(config, log)
