"""Servers that tests may ask for, the environment that all of them run in, and which of them share what was built."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any, Final

import pytest
from xdist.scheduler import LoadScopeScheduling

from towpath import telemetry

pytest_plugins = [
    "servers.oidc",
    "servers.postgres",
    "servers.redis",
    "servers.s3",
    "servers.sigstore",
    "servers.spark",
]

telemetry.silence()

gc.disable()  # until everything is imported: what is imported stays

_SHARING: Final = {"bypass", "console", "docs", "example", "flows", "gateway", "path", "reconcile", "spark"}
"""Folders whose tests share something that takes long to build."""

_SHARING_IN_FILES: Final = {"adapters", "init", "supply", "tasks"}
"""Folders in which the tests of one file do."""


class _Sharing(LoadScopeScheduling):
    """Gives each folder or file that shares what it builds to one process, and every other test to whoever is free."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        folder = file.split("/")[1]
        if folder in _SHARING:
            return folder
        return file if folder in _SHARING_IN_FILES else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    return _Sharing(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Imports the modules of the tests; no later collection of garbage looks at what came with them."""
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_unconfigure() -> None:
    gc.unfreeze()  # libraries look at the end whether what they made is gone
