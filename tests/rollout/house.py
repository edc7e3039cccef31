"""A ledger with candidates that may be promoted, a champion, and evidence that a test tells."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from cli import small_project
from rollout import story
from towpath.adapters.statements_intoto import InTotoStatements
from towpath.core import digest as digests
from towpath.core.charter import Charter, parse
from towpath.core.errors import Unreachable
from towpath.core.evidence import Candidate, Entry, Finding, Outcome, RecordKind, Subject
from towpath.core.gates import GATES, Stage
from towpath.core.looks import Look
from towpath.core.policy import Decision, Policy, Verdict
from towpath.core.rollout import Rollout, Telemetry
from towpath.core.rollout_policy import RolloutPolicy
from towpath.core.statement import claims
from towpath.core.terms import FACT, Terms
from towpath.ledger.rollouts import SqlRollouts
from towpath.ledger.sql import SqlLedger
from towpath.ports import Baseline, Draft, Keys, Ledger, ModelRun, Models, RegisteredModel
from towpath.project import Project, load
from towpath.stages.canary import CanaryPorts
from towpath.stages.canary_start import Started, start
from towpath.stages.succession import champions, crown
from towpath.stages.verdict import gathered, governance
from towpath.stages.work import champion

PROJECT = "visits"
NOW = datetime(2024, 2, 1, tzinfo=UTC)
ROLLOUT = """\
rollout:
  unit: visitor
  steps:
    - {weight: 5, until: {minUnits: 100}}
    - {weight: 25, until: {minUnits: 300}}
    - {weight: 50, until: {promotion: true, maxDuration: 2d}}
  guardrails: [{name: errors, type: rate, event: error, share: 1.0}]
  promotion: [{metric: errors, nonInferior: {ratio: 1.5}}]
  holds: [{name: srm, type: sampleRatio, alpha: 0.001}]
  hardLimits: [{metric: errors, max: 0.5, minUnits: 20}]
  bake: {duration: 24h, holdback: 5}
"""


def project(folder: Path, *, rollout: str = ROLLOUT) -> Project:
    """The small project of the command line's tests, with a rollout in its charter."""
    small_project.write(folder)
    charter = folder / "charter.yaml"
    charter.write_text(charter.read_text(encoding="utf-8") + rollout, encoding="utf-8")
    return load(folder)


def declared(*, rollout: str = ROLLOUT, **changes: Any) -> Charter:
    """The small project's charter."""
    return parse({**yaml.safe_load(small_project.CHARTER + rollout), **changes})


def registered(
    ledger: Ledger,
    number: int,
    *,
    outcome: Outcome = Outcome.PASS,
    charter: Charter | None = None,
    actor: str = "tester",
    changed: Mapping[str, Finding] | None = None,
    trained: Mapping[str, Any] | None = None,
) -> Candidate:
    """A candidate that passed every required gate, compared with the present champion, in the ledger.

    `trained`: what its training recorded beside the model.
    """
    grown, charter = Candidate(project=PROJECT), charter or declared()
    facts: dict[str, Any] = {
        Stage.INGEST: {"as_of": "2024-01-29T00:00:00+00:00"},
        Stage.TRAIN: dict(trained or {}),
        Stage.REGISTER: {FACT: Terms.of(charter).body},
    }
    notes: dict[str, Any] = {
        Stage.TRAIN: {
            "run_id": f"r{number}",
            "model_id": f"m{number}",
            "artifact_digest": digests.of_json(["saved", number]),
        },
        Stage.REGISTER: {"registered_model": PROJECT, "version": str(number)},
    }
    rival = next(reversed(champions(ledger, PROJECT)), "")
    model = Subject(kind="model", name=PROJECT, digest=digests.of_json(["model", number]))
    terms = Subject(kind="charter", name=PROJECT, digest=charter_digest(charter))
    subjects = {Stage.TRAIN: (model,), Stage.REGISTER: (terms, model)}
    for stage in Policy().stages:
        findings = tuple(
            (changed or {}).get(
                code,
                Finding(code=code, outcome=outcome if stage == Stage.EVALUATE else Outcome.PASS, reason="measured"),
            )
            for code in sorted(Policy().gates)
            if GATES[code].stage == stage
        )
        entry = Entry(
            stage=stage,
            project=PROJECT,
            key=digests.of_json([stage, number, rival, outcome, charter_digest(charter), actor]),
            previous=grown.digest,
            inputs=_inputs(stage, rival, charter),
            subjects=subjects.get(Stage(stage), ()),
            findings=findings,
            facts=facts.get(stage, {}),
            notes=notes.get(stage, {}),
        )
        grown = grown.append(entry)
        ledger.append(
            Draft(
                kind=RecordKind.ENTRY,
                project=PROJECT,
                candidate=grown.id,
                stage=stage,
                key=entry.key,
                digest=entry.digest,
                body=entry.model_dump(mode="json"),
            ),
            actor=actor,
        )
    if isinstance(ledger, SqlLedger) and ledger._pen.keys is not None:
        _attest(grown, ledger, ledger._pen.keys, actor)
    return grown


def _attest(candidate: Candidate, ledger: Ledger, keys: Keys, actor: str) -> None:
    """State what was registered, as registering does where there are keys."""
    body = {
        "envelope": InTotoStatements().signed(claims(candidate), model_signature="sha256:none", keys=keys)[0],
        "model_signature": "sha256:none",
    }
    draft = Draft(
        kind=RecordKind.ATTESTATION,
        project=PROJECT,
        candidate=candidate.id,
        stage=Stage.REGISTER,
        key=digests.of_json({"attest": candidate.digest}),
        digest=digests.of_json(body),
        body=body,
    )
    ledger.append(draft, actor=actor)


def charter_digest(charter: Charter) -> str:
    """As `Project.charter_digest`."""
    return digests.of_json(charter.model_dump(mode="json", by_alias=True))


def _inputs(stage: str, rival: str, charter: Charter) -> dict[str, str]:
    if stage == Stage.REGISTER:
        return {"charter": charter_digest(charter)}
    return {"champion": rival} if stage == Stage.EVALUATE else {}


def crowned(ledger: Ledger, candidate: Candidate) -> None:
    """Make it the champion, as a direct promotion does."""
    decision = Decision(
        verdict=Verdict.PROMOTE, candidate=candidate.id, digest=candidate.digest, reasons=("every gate passed",)
    )
    head = ledger.head()
    assert head is not None
    said = governance(gathered(ledger, candidate, now=head.at))
    current = champion(ledger, PROJECT)
    ledger.append(crown(decision, candidate, current, reason="the first one", governance=said), actor="ada")


@dataclass(kw_only=True)
class Told:
    """The port `Evidence`, saying what it was told to say. `down`: it cannot be read."""

    strata: tuple[Any, ...] = ()
    heard: Telemetry = field(default_factory=Telemetry)
    champion: Baseline | None = None
    down: bool = False

    def look(self, rollout: Rollout) -> Look:
        self._up()
        return story.look(*self.strata)

    def telemetry(self, rollout: Rollout) -> Telemetry:
        self._up()
        return self.heard

    def baseline(self, project: str, *, model: str, policy: RolloutPolicy, since: datetime) -> Baseline | None:
        self._up()
        return self.champion

    def close(self) -> None:
        """It holds nothing."""

    def _up(self) -> None:
        if self.down:
            raise Unreachable("The prediction log does not answer.")


@dataclass(kw_only=True)
class Registry:
    """The part of the port `Models` that shows the champion and verifies a model. `down`: it does not answer."""

    aliases: dict[tuple[str, str], RegisteredModel] = field(default_factory=dict)
    down: bool = False
    moved: int = 0

    def promote(self, name: str, version: str, *, alias: str, tags: Mapping[str, str]) -> None:
        self._up()
        self.moved += 1
        self.aliases[name, alias] = RegisteredModel(name=name, version=version, run_id="r", tags=dict(tags))

    def verified(self, run: ModelRun, *, target: Path) -> Path:
        self._up()
        return target

    def by_alias(self, name: str, alias: str) -> RegisteredModel | None:
        self._up()
        return self.aliases.get((name, alias))

    def _up(self) -> None:
        if self.down:
            raise Unreachable("MLflow does not answer.")

    def open(self) -> Models:
        return self  # type: ignore[return-value]


@dataclass(kw_only=True)
class House:
    """A project with a champion and a challenger, and everything that its controller needs."""

    project: Project
    ports: CanaryPorts
    evidence: Told
    champion: Candidate
    challenger: Candidate
    now: datetime = NOW

    @property
    def ledger(self) -> Ledger:
        return self.ports.ledger

    @property
    def row(self) -> Rollout:
        return self.ports.rollouts.history(PROJECT)[0]

    def redeclare(self, project: Project) -> None:
        """Another charter, and a new champion and challenger that were registered with it."""
        self.project = project
        self.champion = registered(self.ledger, 21, charter=project.charter)
        crowned(self.ledger, self.champion)
        self.challenger = registered(self.ledger, 22, charter=project.charter)

    def start(self, **changes: Any) -> Started:
        given = {"author": "ada", "reason": "a newer model", "now": self.now, **changes}
        return start(self.challenger, self.project, self.ports, **given)


@contextmanager
def opened(
    folder: Path,
    *,
    url: str | None = None,
    clock: Callable[[], datetime] | None = None,
    keys: Keys | None = None,
) -> Iterator[House]:
    url = url or f"sqlite:///{folder / 'ledger.db'}"
    evidence = Told()
    clock = clock or (lambda: NOW)
    with (
        SqlLedger.open(url, clock=clock, keys=keys) as ledger,
        SqlRollouts.at(url, clock=clock, keys=keys) as rollouts,
    ):
        first = registered(ledger, 1)
        if champion(ledger, PROJECT) is None:
            crowned(ledger, first)
        yield House(
            project=project(folder / "project"),
            ports=CanaryPorts(ledger=ledger, rollouts=rollouts, evidence=evidence, actor="controller", keys=keys),
            evidence=evidence,
            champion=first,
            challenger=registered(ledger, 2),
        )
