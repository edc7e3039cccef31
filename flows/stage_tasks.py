"""What both flows are made of: a task that does one stage, and one that shows what a run found.

Between tasks travel the project's folder, a stage's name, a time and the digest of the last entry. Everything else is
read again from the ledger and the object store, so that Prefect's database holds no data and a retry starts from
nothing but these.
"""

# ruff: noqa: E402 - Prefect reads the environment when it is imported, so that is set first
from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit
from uuid import UUID

from towpath import telemetry, wiring

telemetry.silence()
# A temporary server that makes its database on a busy machine needs more than Prefect's 20 s.
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "180")

from prefect import State, Task, get_client, get_run_logger, runtime, tags, task
from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event
from prefect.states import Failed
from prefect.tasks import exponential_backoff

from towpath.cli import opening
from towpath.cli.exits import Exit, exit_of
from towpath.cli.figures import figures
from towpath.core.access import Action
from towpath.core.digest import short
from towpath.core.errors import BadInput, TowpathError
from towpath.core.evidence import Candidate, Outcome
from towpath.core.gates import GATES, Stage
from towpath.path import ORDER, WATCH
from towpath.project import load
from towpath.settings import Settings
from towpath.stages.alone import alone
from towpath.verbs.history import failed

if TYPE_CHECKING:
    from logging import Logger, LoggerAdapter

REFUSED = "Refused"  # the name of the state in which a stage and its flow end when a gate says no
RETRIES = 3
BACKOFF_SECONDS = 5.0  # before the first retry; doubled with each, give or take half


def go(project: str, as_of: str | None, *, order: tuple[Stage, ...], until: str | None = None) -> str | State[str]:
    """Go along `order`, a task a stage, to its end, to `until`, or to the first refusal.

    Returns the digest of the candidate, or the state `Refused` with the sentence of the finding that refused it. What a
    stage raised is raised again when its retries are used up.
    """
    last, moment = _last(until, order), _moment(as_of).isoformat()
    settings, loaded = opening.settings(), load(Path(project))
    name = loaded.charter.project
    _tag(name)
    with tags(name), _alone(settings, name):
        tip, state = _walk(project, name, moment, order=order, last=last)
        if tip is not None:
            report(name, tip, return_state=True)
    if state.name == REFUSED:
        return Failed(name=REFUSED, message=state.message)
    result: str = state.result()
    return result


def code_of(state: State[Any]) -> int:
    """The exit code of a flow run's last state: that which `towpath run` would have ended with."""
    if state.is_completed():
        return Exit.GOOD
    if state.name == REFUSED:
        return Exit.REFUSED
    error = state.result(raise_on_failure=False)
    return exit_of(error) if isinstance(error, TowpathError) else Exit.UNEXPECTED


def _walk(
    project: str, name: str, as_of: str, *, order: tuple[Stage, ...], last: Stage
) -> tuple[str | None, State[str]]:
    """The digest of the last entry that was written, and the state of the last task."""
    bar = cast("UUID", create_progress_artifact(0.0, key=_key(name, "progress"), description=f"{name} as of {as_of}"))
    stages = order[: order.index(last) + 1]
    tip: str | None = None
    state: State[str]
    for done, stage in enumerate(stages, start=1):
        with tags(f"{name}-{short(tip)}") if tip else tags():
            run = task_of(stage)
            state = cast("State[str]", run(project, stage.value, as_of, tip, watch=order == WATCH, return_state=True))
        if state.is_completed() or state.name == REFUSED:
            tip = str(state.result(raise_on_failure=False))
        if not state.is_completed():
            break
        update_progress_artifact(bar, 100.0 * done / len(stages))
    return tip, state


def _temporary(_: Task[..., Any], __: object, state: State[Any]) -> bool:
    """Whether a task is worth trying again: only if what it raised says that it may pass."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, TowpathError) and error.temporary


@task(
    task_run_name="{stage}",
    retries=RETRIES,
    retry_delay_seconds=exponential_backoff(BACKOFF_SECONDS),
    retry_jitter_factor=0.5,
    retry_condition_fn=_temporary,
    cache_policy=NO_CACHE,  # the ledger knows what was done; a second memory could disagree with it
    persist_result=False,
)
def _stage(project: str, stage: str, as_of: str, previous: str | None, *, watch: bool) -> str | State[str]:
    """Do one stage on the candidate that ends in the entry `previous`; returns the digest of the entry it wrote."""
    from towpath.stages.sequence import step
    from towpath.stages.waived import goes_on
    from towpath.stages.work import candidate_of

    progress = RunLog(get_run_logger())
    settings, loaded = opening.settings(), load(Path(project))
    work = wiring.open_work(
        settings,
        loaded,
        as_of=datetime.fromisoformat(as_of),
        progress=progress,
        order=WATCH if watch else ORDER,
        identity=opening.acting(settings, None, Action.MONITOR if watch else Action.RUN, loaded.charter.project),
    )
    try:
        known = candidate_of(work.ports.ledger, work.name, previous) if previous else Candidate(project=work.name)
        candidate = step(Stage(stage), known, work)
        on = goes_on(candidate, work.ports.ledger)
    finally:
        work.ports.ledger.close()
    if on:
        return str(candidate.digest)
    return Failed(name=REFUSED, message=sentence(candidate), data=candidate.digest)


def task_of(stage: Stage) -> Task[..., Any]:
    """The task that does this stage, by its name."""
    return _stage.with_options(name=stage.value)


class RunLog:
    """The port `Progress`, to the log of the task run, which bears the stage's name."""

    def __init__(self, logger: Logger | LoggerAdapter[Any]) -> None:
        self._logger = logger

    def begin(self, stage: str) -> None:
        """The task run has begun already; Prefect logs that."""

    def step(self, what: str) -> None:
        self._logger.info(what)

    def found(self) -> None:
        self._logger.info("the entry is in the ledger already")

    def end(self, stage: str, outcome: str) -> None:
        self._logger.info("%s: %s", stage, outcome)


# --- what a run shows -------------------------------------------------------------------------------------------------


@task(
    name="report",
    task_run_name="report",
    retries=RETRIES,
    retry_delay_seconds=exponential_backoff(BACKOFF_SECONDS),
    retry_jitter_factor=0.5,
    retry_condition_fn=_temporary,
    cache_policy=NO_CACHE,
    persist_result=False,
)
def report(name: str, tip: str) -> None:
    """Show the project's candidate that ends in the entry `tip`: an event if it was refused, tags, and artifacts."""
    from towpath.stages.work import candidate_of

    settings = opening.settings()
    with opening.ledger(settings) as ledger:
        candidate = candidate_of(ledger, name, tip)
    if candidate.outcome is not Outcome.PASS:
        _announce(candidate)
    _tag(name, candidate.id)
    create_markdown_artifact(summary(candidate), key=_key(name, "summary"), description=candidate.id)
    create_table_artifact(findings(candidate), key=_key(name, "findings"), description=candidate.id)
    link = page(candidate, settings.mlflow)
    if link is not None:
        create_link_artifact(link, link_text=figures(candidate.entries[-1]), key=_key(name, "model"))


def sentence(candidate: Candidate) -> str:
    """Why a candidate was refused: its first finding that closed a gate."""
    entry = candidate.entries[-1]
    closed = failed(entry.findings)
    if not closed:
        return f"{candidate.id} was refused at {entry.stage}: it found nothing, which is no pass."
    more = f" (and {len(closed) - 1} findings more)" if len(closed) > 1 else ""
    return f"{candidate.id} was refused at {entry.stage} by {closed[0].code}: {closed[0].reason}{more}"


def summary(candidate: Candidate) -> str:
    """A page for people, Markdown: the stages with their outcomes and figures, what refused and how to mend it."""
    as_of = candidate.entries[0].facts.get("as_of", "")
    lines = [f"# {candidate.id}: {candidate.outcome.value}", "", f"As of {as_of}.", ""]
    lines += ["| stage | outcome | entry | figures |", "|---|---|---|---|"]
    for entry in candidate.entries:
        cells = (entry.stage, entry.outcome.value, f"`{short(entry.digest)}`", figures(entry))
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    closed = failed(candidate.findings)
    if closed:
        lines += ["", f"## Refused at {candidate.entries[-1].stage}", ""]
    for finding in closed:
        subject = f" ({finding.subject})" if finding.subject else ""
        mend = f" *{GATES[finding.code].mend}*" if finding.code in GATES else ""
        lines.append(f"- **{finding.outcome.value} {finding.code}**{subject}: {finding.reason}{mend}")
    return "\n".join([*lines, "", f"All of the evidence: `towpath show {candidate.id}`", ""])


def findings(candidate: Candidate) -> list[dict[str, Any]]:
    """Every finding of a candidate, a row each."""
    fields = {"code", "subject", "outcome", "severity", "measured", "bound", "unit", "sample_size", "reason"}
    return [
        {"stage": entry.stage, **finding.model_dump(mode="json", include=fields)}
        for entry in candidate.entries
        for finding in entry.findings
    ]


def page(candidate: Candidate, mlflow: str) -> str | None:
    """The registered model's page at the MLflow server, without the address' password; None when there is neither."""
    entry, parts = candidate.entries[-1], urlsplit(mlflow)
    if entry.stage != Stage.REGISTER or parts.scheme not in ("http", "https"):
        return None
    server = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"
    return f"{server}/#/models/{entry.notes['registered_model']}/versions/{entry.notes['version']}"


def _announce(candidate: Candidate) -> None:
    """Tell Prefect's automations: `towpath.drift` when monitoring refused, `towpath.refused` when another stage did."""
    stage = candidate.entries[-1].stage
    emit_event(
        "towpath.drift" if stage == Stage.MONITOR else "towpath.refused",
        resource={
            "prefect.resource.id": f"towpath.project.{candidate.project}",
            "prefect.resource.name": candidate.project,
            "towpath.candidate": candidate.id,
            "towpath.stage": stage,
        },
        payload={"says": sentence(candidate), "gates": sorted({item.code for item in failed(candidate.findings)})},
    )


def _tag(*words: str) -> None:
    """Add tags to the flow run."""
    with get_client(sync_client=True) as client:
        client.update_flow_run(runtime.flow_run.id, tags=sorted({*runtime.flow_run.tags, *words}))


def _key(name: str, what: str) -> str:
    return f"{name.replace('_', '-')}-{what}"


# --- one run ----------------------------------------------------------------------------------------------------------


def run_name() -> str:
    """`<folder> as of <day>`, from the parameters of the flow run that is about to begin."""
    given = runtime.flow_run.parameters
    return f"{Path(given['project']).resolve().name} as of {given.get('as_of') or wiring.now().date()}"


def _moment(as_of: str | None) -> datetime:
    """The time that all stages see, fixed once: a retry after midnight must not see another."""
    try:
        return wiring.moment(datetime.fromisoformat(as_of) if as_of else None)
    except ValueError as error:
        raise BadInput(f"{as_of!r} is no time.", value=as_of, hint="Write it as 2013-06-01T06:00+00:00.") from error


def _last(until: str | None, order: tuple[Stage, ...]) -> Stage:
    if until is None:
        return order[-1]
    if until not in order:
        raise BadInput(f"This path does not go to {until!r}.", value=until, valid=[stage.value for stage in order])
    return Stage(until)


@contextmanager
def _alone(settings: Settings, name: str) -> Iterator[None]:
    """Wait until no other run of the project is under way on this machine.

    Not a slot of Prefect's: one of a temporary server that is killed would stay taken. Across machines, deployments
    have `concurrency_limit`.
    """
    wiring.prepare(settings)
    with alone(settings.state, name, waiting=get_run_logger().info):
        yield
