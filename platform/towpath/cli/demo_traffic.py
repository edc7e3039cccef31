"""The traffic of the demo's canary: June's flights, and the gateway that they are sent to."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from towpath import path
from towpath.cli import walk
from towpath.cli.progress import StageProgress
from towpath.core import names
from towpath.core.errors import Unreachable
from towpath.core.gates import Stage
from towpath.core.identity import Identity
from towpath.example.workspace import AS_OF, SERVED
from towpath.project import Project
from towpath.settings import Settings


def traffic(project: Project, settings: Settings, progress: StageProgress, who: Identity) -> Path:
    """June's flights with their features as known then, from the path that a watch goes: what clients will send."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    target = settings.state / "demo" / "june.parquet"
    target.parent.mkdir(parents=True, exist_ok=True)
    with walk.opened(settings, project, progress, as_of=SERVED, order=path.WATCH, identity=who) as work:
        walked = walk.walk(work, progress, until=Stage.FEATURIZE)
        table = pq.read_table(
            work.ports.objects.fetch(walked.candidate.entry(Stage.FEATURIZE).subject("features", "watch").digest)
        )
    pq.write_table(table.filter(pc.greater_equal(table[names.EVENT_TIME], AS_OF)), target)
    return target


@contextmanager
def gateway(folder: Path, settings: Settings) -> Iterator[str]:
    """The gateway that `towpath serve` runs, on a free port; its address."""
    log = settings.state / "logs" / "gateway.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    config = {"projects": [str(folder.absolute())], "host": "127.0.0.1", "port": 0, "workers": 1}
    command = [sys.executable, "-m", "towpath.gateway", json.dumps(config)]
    with log.open("wb") as stream:
        process = subprocess.Popen(  # noqa: S603 - our own module
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stream, start_new_session=True
        )
    try:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline() or "{}")
        if "url" not in said:
            raise Unreachable(f"The gateway did not start: {said.get('error', 'it ended')}", hint=f"Its log is {log}.")
        yield said["url"]
    finally:
        process.terminate()
        process.wait()
