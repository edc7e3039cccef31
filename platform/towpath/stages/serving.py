"""serving: what may serve, by the record alone, and its verified bytes. A registry's alias has no say here."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from towpath.core import digest as digests
from towpath.core.errors import Denied, IntegrityError, NotFound, OutOfOrder, TowpathError
from towpath.core.evidence import Candidate, Entry, Finding, Incident, Outcome, Record, RecordKind, Subject
from towpath.core.gates import Stage
from towpath.core.masking import Masks
from towpath.core.policy import Policy, Verdict, decide
from towpath.core.statement import Claims, claims
from towpath.core.task import Task
from towpath.ports import Draft, Ledger, ModelRun, Models, Objects, Runtime, Runtimes
from towpath.stages.attested import Attested
from towpath.stages.masks import masked
from towpath.stages.proof import agreed, require_crowned
from towpath.stages.rollout_row import require_decided
from towpath.stages.succession import line, require_whole
from towpath.stages.verdict import gathered
from towpath.stages.work import candidate_of, champion, crowning

if TYPE_CHECKING:
    from towpath.core.rollout import Contender, Rollout

CHEAPER = "cheaper-"
"""How the name of a cheaper model's `runtime` subject begins; what follows is its kind."""


@dataclass(frozen=True, kw_only=True)
class Approved:
    """A candidate that may serve, as its record describes it: digests, inputs in order with their types, views."""

    candidate: str
    digest: str
    model: str
    version: str
    columns: tuple[str, ...]
    types: Mapping[str, str]
    views: Mapping[str, tuple[str, ...]]
    features: str
    """Key of the featurize entry, which names the embedded feature store's folder."""
    features_until: str
    """When its window ends (ISO 8601)."""
    run: ModelRun
    runtime: Subject | None
    cheaper: Subject | None
    claims: Claims
    """What a trusted key must state before anything of it is loaded."""
    masks: Masks = field(default_factory=dict)
    """Of the columns that it knows only masked."""
    classes: tuple[str | int, ...] = ()
    """Of a multiclass model, in the order of its probabilities; its parity was measured in that order."""
    task: str = Task.BINARY.value
    """What its numbers mean: of a regression one is no probability."""

    @property
    def width(self) -> int:
        """Numbers that a row is answered with."""
        return len(self.classes) or 1


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A candidate that somebody wants served and the record does not let serve."""

    candidate: str
    error: TowpathError


@dataclass(frozen=True, kw_only=True)
class Servable:
    """What may serve. `champion` is the ledger's; the others are a rollout's, when one is open.

    `challenger` is None when it was refused: `refused` says why.
    """

    champion: Approved | None
    rollout: Rollout | None = None
    incumbent: Approved | None = None
    challenger: Approved | None = None
    refused: tuple[Refused, ...] = ()


FULL_EVERY = timedelta(minutes=10)
"""How often a server verifies every record; in between, those that are new and the last one of before."""


class Head:
    """The ledger's head as it was last seen. What is new is verified when it moved, all every `FULL_EVERY`."""

    def __init__(self) -> None:
        self._last: Record | None = None
        self._whole = False
        self._due = 0.0  # monotonic seconds
        self._attestations: dict[str, list[Record]] = {}
        self._everything = False
        self._shown: object = None

    def moved(self, ledger: Ledger) -> bool:
        """Whether there are records that were not seen yet, or the last one seen is no longer there as it was.

        Also whenever everything is to be verified again.
        """
        after = self._last.sequence - 1 if self._last is not None else 0
        found = list(ledger.records(after=after))
        known = self._last.hash if self._last is not None else None
        if found and found[0].hash == known and len(found) == 1:
            overdue = self._whole and time.monotonic() >= self._due
            self._whole = self._whole and not overdue
            return overdue
        moved = bool(found) or self._last is not None
        self._note(found)
        self._last = found[-1] if found else None
        self._whole = self._whole and not moved
        return moved

    def attestations(self, candidate: str) -> list[Record]:
        """Those of a candidate among all records seen, the newest first: who follows the ledger has read them."""
        return list(reversed(self._attestations.get(candidate, [])))

    def _note(self, found: list[Record]) -> None:
        seen = {record.hash for records in self._attestations.values() for record in records}
        for record in found:
            if record.kind is RecordKind.ATTESTATION and record.hash not in seen:
                self._attestations.setdefault(record.candidate, []).append(record)

    def require_whole(self, ledger: Ledger) -> None:
        """Raises `IntegrityError` unless the whole ledger is as it was written."""
        if self._whole:
            return
        now = time.monotonic()
        everything = now >= self._due
        require_whole(ledger.verify(trusting=None if everything else FULL_EVERY))
        self._whole, self._everything = True, everything
        self._due = now + FULL_EVERY.total_seconds() if everything else self._due

    def require_whole_for(self, ledger: Ledger, shown: object) -> None:
        """Before others serve than before, everything is verified: an old record may have been edited since."""
        if shown != self._shown and not self._everything:
            require_whole(ledger.verify())
            self._everything, self._due = True, time.monotonic() + FULL_EVERY.total_seconds()
        self._shown = shown


def servable(ledger: Ledger, rollout: Rollout | None, project: str, *, head: Head) -> Servable:
    """What the ledger lets serve: the champion, and the contenders of the open rollout.

    Raises `IntegrityError` when the ledger, or the champion's own chain, is not what was written, and `Denied` when
    those who had to agree to the champion did not. A rollout whose row is not what was decided takes no part;
    `Conflict` where it is only older than the record, and is to be read again. A contender of another task or other
    classes than the champion's is refused: a request's rows are answered alike, whichever model each of them falls to.
    """
    head.require_whole(ledger)
    current = champion(ledger, project)
    found = None
    if current is not None:
        require_crowned(ledger, current.decision)
        found = approved(current.candidate)
    if rollout is None or found is None:
        head.require_whole_for(ledger, shown(found))
        return Servable(champion=found)
    try:
        require_decided(ledger, rollout)
    except IntegrityError as error:
        head.require_whole_for(ledger, shown(found))
        forged = Denied(error.message, value=rollout.rollout_id, hint=error.hint)
        return Servable(champion=found, refused=(Refused(candidate=rollout.challenger.candidate, error=forged),))
    promoted = _promoted(ledger, project)
    refused: list[Refused] = []
    contenders: list[Approved | None] = []
    for contender in (rollout.champion, rollout.challenger):
        try:
            one = _contender(ledger, rollout, contender, promoted)
            _require_alike(one, found)
            contenders.append(one)
        except TowpathError as error:
            contenders.append(None)
            refused.append(Refused(candidate=contender.candidate, error=error))
    incumbent, challenger = contenders
    head.require_whole_for(ledger, shown(found, incumbent, challenger))
    return Servable(
        champion=found,
        rollout=rollout if incumbent is not None else None,
        incumbent=incumbent,
        challenger=challenger,
        refused=tuple(refused),
    )


def standing_before(ledger: Ledger, project: str) -> Iterator[Approved]:
    """Who stood as champion before the present one, the last first, each proved by the decision that made it.

    One that was rolled back is not among them. Of a ledger that `servable` found whole.
    """
    standing = line(ledger, project)
    seen = {standing[-1].body["digest"]} if standing else set()
    for record in reversed(standing[:-1]):
        if record.body["digest"] in seen:
            continue
        seen.add(record.body["digest"])
        try:
            require_crowned(ledger, record)
            candidate = candidate_of(ledger, project, str(record.body["digest"]))
            before = approved(candidate)
        except (Denied, NotFound, OutOfOrder):  # it was not agreed to, or its chain is not in the record
            continue
        yield before


def shown(
    champion: Approved | None, incumbent: Approved | None = None, challenger: Approved | None = None
) -> tuple[str | None, ...]:
    """Who is to serve, as `Head.require_whole_for` compares it."""
    return tuple(one.digest if one is not None else None for one in (champion, incumbent, challenger))


def approved(candidate: Candidate) -> Approved:
    """The candidate as its entries describe it. Raises `OutOfOrder` for one that was never registered."""
    train, register = candidate.entry(Stage.TRAIN), candidate.entry(Stage.REGISTER)
    featurize = candidate.entry(Stage.FEATURIZE)
    views: Any = featurize.facts["views"]
    window: Any = featurize.facts["window"]
    columns: Any = train.facts["inputs"]
    types: Any = train.facts["types"]
    classes: Any = train.facts.get("classes", ())
    return Approved(
        candidate=candidate.id,
        digest=str(candidate.digest),
        model=train.subject("model").digest,
        version=str(register.notes["version"]),
        columns=tuple(columns),
        types=dict(types),
        views={name: tuple(features) for name, features in views.items()},
        features=featurize.key,
        features_until=str(window[1]),
        run=_run(train),
        runtime=_runtime(register, cheaper=False),
        cheaper=_runtime(register, cheaper=True),
        claims=claims(candidate),
        masks=masked(candidate),
        classes=tuple(classes),
        task=str(train.facts.get("task", Task.BINARY.value)),
    )


def load(
    approved: Approved,
    subject: Subject | None,
    *,
    attested: Attested,
    objects: Objects,
    models: Callable[[], Models],
    runtimes: Runtimes,
    folder: Path,
) -> Runtime:
    """The model of a compiled subject, or, without one, the saved scikit-learn model.

    A trusted key must have stated the digest, and bytes are verified against it, before anything is made of them.
    Raises `IntegrityError`.
    """
    attested.require("candidate", approved.digest)
    if subject is None:
        attested.require("saved", approved.run.artifact_digest)
        saved = models().verified(approved.run, target=folder)
        return runtimes.open("sklearn", saved, columns=approved.columns, types=approved.types)
    attested.require(f"runtime/{subject.name}", subject.digest)
    try:
        file = _own(objects.fetch(subject.digest), subject.digest, folder)
    except NotFound as error:
        raise IntegrityError(
            f"The compiled model {subject.name} of {approved.candidate} is not in the object store.",
            gate="integrity.model",
            value=subject.digest,
            hint="Run the path again; it is compiled anew.",
        ) from error
    except IntegrityError as error:
        raise IntegrityError(error.message, gate="integrity.model", value=error.value, hint=error.hint) from error
    kind = subject.name.removeprefix(CHEAPER)
    return runtimes.open(kind, file, columns=approved.columns, types=approved.types)


def _own(file: Path, digest: str, folder: Path) -> Path:
    """A copy that nobody else writes, verified itself: in the store a file can be swapped behind its verification."""
    folder.mkdir(parents=True, exist_ok=True)
    copy = folder / "compiled"
    shutil.copyfile(file, copy)
    if (found := digests.of_file(copy)) != digest:
        raise IntegrityError(
            f"The stored bytes at {file} changed while they were loaded: expected {digest}, found {found}.",
            gate="integrity.model",
            value=digest,
            hint="Find out who writes to the object store.",
        )
    return copy


def report(ledger: Ledger, project: str, refused: Refused, *, actor: str) -> Record | None:
    """Write that a candidate was refused, once for each candidate and reason, whoever notices it first.

    Nothing is appended to a ledger that is itself not what was written, nor for what may pass by itself.
    """
    error = refused.error
    gate = error.gate if isinstance(error, IntegrityError) else "serve.approved"
    if gate == "integrity.ledger" or error.temporary:
        return None
    finding = Finding(
        code=gate,
        outcome=Outcome.FAIL,
        subject=refused.candidate,
        measured=None if error.value is None else str(error.value),
        reason=error.message,
    )
    incident = Incident(project=project, candidate=refused.candidate, stage=Stage.PROMOTE.value, findings=(finding,))
    body = incident.model_dump(mode="json")
    return ledger.append(
        Draft(
            kind=RecordKind.INCIDENT,
            project=project,
            candidate=refused.candidate,
            stage=Stage.PROMOTE.value,
            key=digests.of_json({"served": refused.candidate, "refused": body}),
            digest=digests.of_json(body),
            body=body,
        ),
        actor=actor,
    )


def _promoted(ledger: Ledger, project: str) -> dict[str, str]:
    """Model digests of every champion so far by candidate digest, the present one last."""
    found: dict[str, str] = {}
    for record in crowning(ledger, project):
        digest = str(record.body["digest"])
        found.pop(digest, None)
        found[digest] = str(record.body["model"])
    return found


def _contender(ledger: Ledger, rollout: Rollout, contender: Contender, promoted: Mapping[str, str]) -> Approved:
    """A side of a rollout: a champion of before or of now, or a challenger that the policy lets take traffic.

    The challenger is decided on again, as of the rollout's start, by all that the record holds now: who has withdrawn
    an approval since does not agree any more.
    """
    candidate = candidate_of(ledger, rollout.project, contender.digest)
    if contender.digest not in promoted:
        case = gathered(ledger, candidate, now=datetime.fromisoformat(agreed(ledger, rollout)["decided_at"]))
        decision = decide(Policy(), candidate, case.model_copy(update={"unwritten": ()}))
        if decision.verdict is not Verdict.PROMOTE:
            raise Denied(
                f"{candidate.id} may not serve: {'; '.join(decision.reasons[:3])}.",
                value=candidate.id,
                hint=f"`towpath show {candidate.id}` says what it lacks.",
            )
    found = approved(candidate)
    if found.model != contender.model:
        raise Denied(
            f"The rollout names model {digests.short(contender.model)} for {candidate.id}, which recorded "
            f"{digests.short(found.model)}.",
            value=contender.model,
        )
    return found


def _require_alike(contender: Approved, champion: Approved) -> None:
    if (contender.task, contender.classes) != (champion.task, champion.classes):
        raise Denied(
            f"{contender.candidate} answers with {_answers(contender)}, and the champion {champion.candidate} "
            f"with {_answers(champion)}.",
            value=contender.candidate,
            hint="A rollout is between models that answer alike; end this one: `towpath rollout abort`.",
        )


def _answers(one: Approved) -> str:
    if one.classes:
        return f"a probability for each of {', '.join(map(str, one.classes[:20]))}"
    return "one number" if one.task == Task.BINARY else f"the number of a {one.task}"


def _run(train: Entry) -> ModelRun:
    """As `stages.train.trained`, which a server does not import: it would bring pandas and scikit-learn along."""
    return ModelRun(
        run_id=str(train.notes["run_id"]),
        model_id=str(train.notes["model_id"]),
        model_digest=train.subject("model").digest,
        artifact_digest=str(train.notes["artifact_digest"]),
    )


def _runtime(register: Entry, *, cheaper: bool) -> Subject | None:
    """The compiled model that the entry recorded, the first by name."""
    named = register.subjects_of("runtime")
    return next((item for name, item in sorted(named.items()) if name.startswith(CHEAPER) is cheaper), None)
