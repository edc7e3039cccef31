"""Spark in local mode, started once for all tests that ask for it: its start costs seconds. It needs Java."""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Iterator

import pytest

from towpath.adapters.spark_session import SparkMaster, spark_session


@pytest.fixture(scope="session")
def running_spark() -> Iterator[SparkMaster]:
    """The master under which Spark runs for as long as the tests do; every user opens a session of its own."""
    if shutil.which("java") is None:
        pytest.skip("Java is not installed: apt install default-jre-headless")
    master = SparkMaster(address="local[2]")
    # Short-lived and small: the first compiler is enough, and quicker to be there.
    os.environ.setdefault("SPARK_SUBMIT_OPTS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
    with spark_session(master):
        yield master


@pytest.fixture
def spark(running_spark: SparkMaster) -> Iterator[SparkMaster]:
    """The same; what py4j leaves open to the garbage collector is collected before the next test, without a word."""
    yield running_spark
    gc.collect()
