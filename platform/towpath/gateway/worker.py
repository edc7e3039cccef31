"""A worker process: `python -m towpath.gateway.worker CONFIG`, where CONFIG is JSON of `WorkerConfig`.

It listens beside its siblings on one port (SO_REUSEPORT) once it has read the record, and ends gracefully on SIGTERM or
when its parent is gone.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import msgspec
import uvicorn
import uvloop

from towpath import telemetry, wiring
from towpath.core.errors import TowpathError
from towpath.gateway.answering import Answering
from towpath.gateway.app import App
from towpath.gateway.loading import Loader, Stores
from towpath.gateway.metrics import Metrics
from towpath.gateway.outbox import Outbox
from towpath.gateway.plan import Plan
from towpath.gateway.reading import Readers
from towpath.gateway.sockets import bound
from towpath.gateway.spool import Spool
from towpath.gateway.watch import Rules, Sources, Watch
from towpath.gateway.watcher import SECONDS, Watcher
from towpath.project import Project, load
from towpath.settings import Settings

_BACKLOG = 2_048
_DRAIN_SECONDS = 15
_KEEP_ALIVE_SECONDS = 75
_log = logging.getLogger(__name__)


class WorkerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What the parent tells a worker; settings come from the environment."""

    projects: list[str]
    host: str
    port: int
    name: str
    spool: str
    metrics: str
    log: bool = True
    ready: int | None = None
    """A file descriptor that is written to and closed once the worker listens."""


class Worker:
    """One process of the gateway: its projects, their plans, and what has to be closed."""

    def __init__(self, config: WorkerConfig, settings: Settings, loop: asyncio.AbstractEventLoop) -> None:
        self._config = config
        self._settings = settings
        self._loop = loop
        self._metrics = Metrics()
        self._spool = Spool(Path(config.spool) / config.name, loop, self._metrics)
        self._outbox = Outbox(loop, self._spool.write)
        self._stores = Stores(
            objects=wiring.open_objects(settings),
            models=partial(wiring.open_models, settings),
            runtimes=wiring.open_runtimes(settings),
            keys=wiring.open_keys(settings),
            scratch=settings.state / "scratch",
        )
        self._sources: list[Sources] = []
        self._projects = [load(Path(folder)) for folder in config.projects]
        self._answering = {project.charter.project: self._answers(project) for project in self._projects}
        self._watcher: Watcher | None = None

    async def serve(self) -> None:
        """Until SIGTERM, or until the parent is gone."""
        await self._begin()
        app = App(
            self._answering,
            metrics=self._metrics,
            metrics_folder=self._config.metrics,
            write=self._spool.write,
        )
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                loop="none",
                http=self._outbox.protocol(),
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,  # nobody asks who the client is
                backlog=_BACKLOG,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=_DRAIN_SECONDS,
            )
        )
        self._loop.add_reader(0, self._parent_is_gone, server)
        ready = asyncio.create_task(self._say_ready(server))
        try:
            await server.serve(sockets=[bound(self._config.host, self._config.port)])
        finally:
            ready.cancel()
            self._loop.remove_reader(0)
            await self._end()

    async def _begin(self) -> None:
        """Read the record before a single connection is taken: a sibling may be able to answer it."""
        while True:
            try:
                if self._watcher is None:
                    self._watcher = await self._loop.run_in_executor(None, self._watching)
                if await self._loop.run_in_executor(None, self._watcher.first):
                    break
            except TowpathError as error:  # a database that is not there yet
                _log.warning("the record cannot be opened: %s", error)
            if self._answering and all(answering.plan is not None for answering in self._answering.values()):
                break
            await asyncio.sleep(SECONDS)
        await asyncio.sleep(0)  # plans are put in place by the loop
        gc.collect()
        gc.freeze()
        assert self._watcher is not None
        self._watcher.start()

    def _watching(self) -> Watcher:
        ledger, rollouts = wiring.open_ledger(self._settings), wiring.open_rollouts(self._settings)
        found = []
        for project in self._projects:
            charter = project.charter
            answering = self._answering[charter.project]
            sources = Sources(
                ledger=ledger,
                rollouts=rollouts,
                loader=Loader(self._stores, self._loop, ledger),
                readers=Readers(
                    partial(wiring.open_online, self._settings, project.repository),
                    state=self._settings.state,
                    rules=charter.serving.features,
                    loop=self._loop,
                    opened=answering.metrics.breaker.set,
                ),
            )
            self._sources.append(sources)
            rules = Rules(
                project=charter.project,
                request=charter.features.request,
                row_id=charter.features.row_id,
                unit=charter.rollout.unit if charter.rollout is not None else None,
            )
            apply = partial(self._hand_over, charter.project)
            watch = Watch(rules, sources, apply=apply, actor=self._settings.actor)
            found.append((watch, answering.metrics.configured.set))
        return Watcher(found, self._metrics)

    def _hand_over(self, project: str, plan: Plan | None) -> None:
        self._loop.call_soon_threadsafe(self._put, project, plan)

    def _put(self, project: str, plan: Plan | None) -> None:
        answering = self._answering[project]
        answering.plan = plan
        split = plan.split if plan is not None else None
        answering.metrics.weight.set(split.weight / 10_000 if split is not None else 0)
        answering.metrics.generation.set(split.generation if split is not None else 0)

    def _answers(self, project: Project) -> Answering:
        charter = project.charter
        return Answering(
            project=charter.project,
            serving=charter.serving,
            metrics=self._metrics,
            write=self._outbox.log if self._config.log else None,
            task=charter.training.task,
        )

    async def _say_ready(self, server: uvicorn.Server) -> None:
        while not server.started:
            await asyncio.sleep(0.01)
        if self._config.ready is not None:
            os.write(self._config.ready, b"1")
            os.close(self._config.ready)

    def _parent_is_gone(self, server: uvicorn.Server) -> None:
        if not os.read(0, 1):
            self._loop.remove_reader(0)
            server.should_exit = True

    async def _end(self) -> None:
        if self._watcher is not None:
            self._watcher.stop()
        for sources in self._sources:
            await sources.readers.close()
            sources.loader.close()
        self._outbox.flush()
        self._spool.close()


def main(arguments: list[str], environment: Mapping[str, str] = os.environ) -> None:
    """Run a worker to its end."""
    telemetry.silence()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    for name in ("uvicorn", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    sys.setswitchinterval(0.001)  # the loop gets the interpreter back soon while a model is being loaded
    config = msgspec.json.decode(arguments[0], type=WorkerConfig)
    settings = Settings.read(environment, folder=Path.cwd())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(config, settings))


async def _run(config: WorkerConfig, settings: Settings) -> None:
    await Worker(config, settings, asyncio.get_running_loop()).serve()


if __name__ == "__main__":
    main(sys.argv[1:])
