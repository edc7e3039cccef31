"""Spark, started quietly in this process or as a cluster's driver, and closed again by who started it."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from towpath.core.errors import Misconfigured, TowpathError, Unreachable

LOCAL = "local"
_MEMORY = "2g"
_INSTALL = "pip install 'towpath[spark]'"

# What makes two sessions answer alike; every session that is opened here has it.
_MEANING: Mapping[str, str] = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.timestampType": "TIMESTAMP_LTZ",
    "spark.sql.timeType.enabled": "true",
    # Spark has no nanoseconds: they are read as numbers, and cut to microseconds by who reads them.
    "spark.sql.legacy.parquet.nanosAsLong": "true",
}


@dataclass(frozen=True, kw_only=True)
class SparkMaster:
    """Where Spark runs: `local[*]` is this process with all its cores; else a cluster's address, as Spark writes it.

    Everything else is Spark's own to set, in the `spark-defaults.conf` of `SPARK_CONF_DIR` and by
    `SPARK_DRIVER_MEMORY`, which is 2 GB here for a local master.
    """

    address: str = "local[*]"

    @property
    def options(self) -> dict[str, str]:
        """What Spark is started with."""
        found = {
            **_MEANING,
            "spark.master": self.address,
            "spark.app.name": "towpath",
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
            "spark.log.level": "OFF",
        }
        if self.address.startswith(LOCAL):
            found |= {
                "spark.driver.host": "127.0.0.1",
                "spark.driver.bindAddress": "127.0.0.1",
                # One process: 200 partitions, Spark's own number, would be 200 tasks of a few rows each.
                "spark.sql.shuffle.partitions": str(max(4, os.cpu_count() or 1)),
            }
            if "SPARK_DRIVER_MEMORY" not in os.environ:
                found["spark.driver.memory"] = _MEMORY
        return found


@contextmanager
def spark_session(master: SparkMaster) -> Iterator[Any]:
    """A session of its own: views and options made in it are seen by nobody else.

    A Spark that this process already runs is used, and left running; otherwise it is started, which takes seconds, and
    stopped afterwards. Raises `Misconfigured` without pyspark or Java, and `Unreachable` when the master does not
    answer.
    """
    try:
        from pyspark import SparkContext
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise Misconfigured(
            f"Spark is asked for, and pyspark is not installed: {error}.", value=master.address, hint=f"{_INSTALL}."
        ) from error
    running = SparkContext._active_spark_context
    if running is not None and running._jsc.sc().isStopped():
        running.stop()  # by its cluster or its driver: Python has not heard of it
        running = None
    context = running or _started(master)
    try:
        session = SparkSession(context).newSession()
        for name, value in _MEANING.items():
            session.conf.set(name, value)
        yield session
    finally:
        if running is None:
            context.stop()


def _started(master: SparkMaster) -> Any:
    """Spark's context. What its launcher writes on the terminal goes into a file, and its end into the error."""
    if not (os.environ.get("JAVA_HOME") or shutil.which("java")):
        raise Misconfigured(
            "Spark needs Java 17 or later, and there is none.", value=master.address,
            hint="Install a headless Java runtime, or set JAVA_HOME.",
        )  # fmt: skip
    from pyspark import SparkConf, SparkContext
    from pyspark.java_gateway import launch_gateway

    conf = SparkConf(loadDefaults=False).setAll(list(master.options.items()))
    if master.address.startswith(LOCAL):
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    with tempfile.TemporaryFile() as said:
        try:
            gateway = SparkContext._gateway or launch_gateway(conf, {"stdout": said, "stderr": said})
            return SparkContext(conf=conf, gateway=gateway)
        except Exception as error:  # Java's own errors come in every class
            said.seek(0)
            raise _unavailable(master, error, said.read().decode(errors="replace")) from error


def _unavailable(master: SparkMaster, error: Exception, said: str) -> TowpathError:
    lines = [line.strip() for line in f"{said}\n{error}".splitlines() if line.strip()]
    told = [line for line in lines if "Exception" in line or "rror" in line] or lines or [type(error).__name__]
    if "Could not parse Master URL" in f"{said}{error}":
        return Misconfigured(
            f"{master.address!r} is no master of Spark.", value=master.address,
            valid=["local[*]", "local[4]", "spark://host:7077", "yarn", "k8s://https://host:443"],
        )  # fmt: skip
    return Unreachable(
        f"Spark at {master.address} does not start: {told[-1]}",
        value=master.address,
        hint="Check the master's address, and that `java -version` says 17 or later.",
    )


def local_path(path: Path) -> str:
    """A local file's address for Spark, whatever its file system by default, with the signs of its patterns escaped."""
    return "file://" + re.sub(r"([\\{}\[\]*?])", r"\\\1", str(path.absolute()))
