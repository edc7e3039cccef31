"""Who is champion after whom: the record that makes one, who stands behind it, and MLflow's alias as its mirror."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pydantic import JsonValue

from towpath.core import digest as digests
from towpath.core import names
from towpath.core.errors import IntegrityError
from towpath.core.evidence import Candidate, Record, RecordKind
from towpath.core.gates import Stage
from towpath.core.policy import Decision, Verdict
from towpath.ports import Draft, Ledger, Models, Verification
from towpath.stages.work import ChampionRecord, champion, crowning


def champions(ledger: Ledger, project: str) -> tuple[str, ...]:
    """Model digests of every champion so far, the present one last."""
    return tuple(str(record.body["model"]) for record in crowning(ledger, project))


def line(ledger: Ledger, project: str) -> tuple[Record, ...]:
    """The decisions whose champions still stand behind the present one, which is last; a rollback takes back to one."""
    standing: list[Record] = []
    for record in crowning(ledger, project):
        same = [one for one in standing if one.body["digest"] == record.body["digest"]]
        if record.body["verdict"] == Verdict.ROLLBACK and same:
            del standing[standing.index(same[-1]) :]
        standing.append(record)
    return tuple(standing)


def succession(project: str, current: ChampionRecord | None) -> str:
    """A champion has one successor: two decisions that follow the same one have the same key, and one is written."""
    return digests.of_json({"promote": project, "after": current.decision.hash if current else None})


def crown(
    decision: Decision,
    candidate: Candidate,
    current: ChampionRecord | None,
    *,
    reason: str,
    governance: Mapping[str, JsonValue] | None,
    rollout: Mapping[str, JsonValue] | None = None,
) -> Draft:
    """The record that makes a candidate the champion.

    `governance`: who agreed, as `stages.verdict` says it; None for one that was champion before, and comes back.
    `rollout`: the decision of the rollout that it belongs to.
    """
    body = {
        **decision.model_dump(mode="json"),
        "reason": reason,
        "champion_before": current.candidate.digest if current else None,
        "model": candidate.entry(Stage.TRAIN).subject("model").digest,
        **({"governance": governance} if governance is not None else {}),
        **({"rollout": rollout} if rollout is not None else {}),
    }
    return Draft(
        kind=RecordKind.DECISION,
        project=candidate.project,
        candidate=candidate.id,
        stage=Stage.PROMOTE.value,
        key=succession(candidate.project, current),
        digest=digests.of_json(body),
        body=body,
    )


def require_whole(verification: Verification) -> None:
    """Raises `IntegrityError` that names the first bad record, unless the ledger is whole."""
    if verification.whole:
        return
    first = verification.verdict or verification.faults[0]
    kind = f" ({first.kind})" if first.kind is not None else ""
    raise IntegrityError(
        f"The ledger is not as it was written{kind}: record {first.sequence}: {first.what.rstrip('.')}.",
        gate="integrity.ledger",
        value=str(first.sequence),
        hint="Nothing is promoted from a ledger that was changed. Restore it from its backup.",
    )


def mirror(ledger: Ledger, models: Callable[[], Models], project: str) -> Record | None:
    """Let MLflow show what the ledger decided: alias and tags. Returns the decision shown; twice changes nothing.

    The ledger decides and MLflow follows, so whoever calls this goes on when MLflow does not answer (`Unreachable`).
    """
    current = champion(ledger, project)
    if current is None:
        return None
    notes = current.candidate.entry(Stage.REGISTER).notes
    name, version = str(notes["registered_model"]), str(notes["version"])
    opened = models()
    shown = opened.by_alias(name, names.ALIAS_CHAMPION)
    if shown is None or (shown.version, shown.tags.get(names.TAG_DECISION)) != (version, current.decision.hash):
        show(opened, current)
    return current.decision


def show(models: Models, current: ChampionRecord) -> None:
    """Move the alias to the champion, with the decision's hash in its tags."""
    notes = current.candidate.entry(Stage.REGISTER).notes
    models.promote(
        str(notes["registered_model"]),
        str(notes["version"]),
        alias=names.ALIAS_CHAMPION,
        tags={names.TAG_DECISION: current.decision.hash, names.TAG_OUTCOME: Verdict.PROMOTE.value},
    )
