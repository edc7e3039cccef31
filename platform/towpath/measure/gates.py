"""The evaluation's gates: from a holdout's arrays and the charter's bounds to findings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypedDict

import numpy as np
from numpy.typing import ArrayLike

from towpath.core.charter import Gates
from towpath.core.errors import BadInput
from towpath.core.evidence import Finding, Outcome, Severity
from towpath.core.task_bounds import MulticlassGates
from towpath.measure import slices
from towpath.measure.metrics import RESAMPLES, Estimate, Gain, Metrics, Scored, gain, measure
from towpath.measure.slices import Group
from towpath.measure.verdicts import Demand, Side, count, judge, judge_each, number

MIN_LATENCIES = 20  # a 95th percentile of fewer is their largest


class Options(TypedDict):
    """How every interval of an evaluation is made."""

    confidence: float
    resamples: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class Holdout:
    """What the evaluation works from, row by row (n,), beside single-row prediction times in milliseconds (any length).

    `labels`: 0 or 1. `candidate` and `champion`: probability of class 1; `champion` is None when there is none yet.
    `base_rate`: share of class 1 among the training rows. `columns`: the slice columns' values.
    """

    labels: ArrayLike
    candidate: ArrayLike
    champion: ArrayLike | None = None
    base_rate: float
    columns: Mapping[str, ArrayLike] = field(default_factory=dict)
    latencies_ms: ArrayLike = ()


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What the evaluation measured, for plots and the card, and its findings."""

    metrics: Metrics
    over_baseline: Gain
    over_champion: Gain | None
    groups: tuple[Group, ...]
    findings: tuple[Finding, ...]


def evaluate(holdout: Holdout, gates: Gates, *, resamples: int = RESAMPLES, seed: int = 0) -> Evaluation:
    """Measure the candidate on the holdout and judge it by every evaluation gate.

    Raises `BadInput` for arrays that cannot be measured: other lengths, other labels, one class, a missing slice
    column.
    """
    scored = Scored.of(holdout.labels, holdout.candidate)
    if not 0 < holdout.base_rate < 1:
        raise BadInput(
            f"The training base rate is {holdout.base_rate}; it must lie between 0 and 1.",
            value=holdout.base_rate,
            hint="A training set of one class cannot be learnt from; check the label.",
        )
    options = Options(confidence=gates.confidence, resamples=resamples, seed=seed)
    truth, chance = scored.labels, scored.probabilities
    metrics = measure(truth, chance, **options)
    baseline = gain(truth, chance, np.full(scored.n, holdout.base_rate), **options)
    champion = None if holdout.champion is None else gain(truth, chance, holdout.champion, **options)
    groups = slices.measure_slices(scored, holdout.columns, gates.slices, **options)
    return Evaluation(
        metrics=metrics,
        over_baseline=baseline,
        over_champion=champion,
        groups=groups,
        findings=(
            *metric_findings(metrics, gates),
            baseline_finding(baseline, f"the training base rate {number(holdout.base_rate)}", gates),
            *champion_findings(champion, gates, instead="the base rate"),
            *slices.findings(groups, gates.slices, confidence=gates.confidence),
            latency_finding(holdout.latencies_ms, gates.latency_ms),
        ),
    )


def metric_findings(metrics: Metrics, gates: Gates, *, code: str = "", source: str = "holdout") -> tuple[Finding, ...]:
    """ROC AUC by its lower end, log loss and calibration error by their upper ends.

    The calibration error's estimate is biased upward and its upper end is never below it (see `metrics`): a model that
    passes is calibrated at least as well as the bound says, one that fails on few rows may only have few rows. `code`
    puts the three under one gate, each with its subject; by default each has its own.
    """
    demanded = (
        (Demand(code="eval.roc_auc", what="ROC AUC", side=Side.AT_LEAST, bound=gates.roc_auc), metrics.roc_auc),
        (log_loss_demand(gates.log_loss), metrics.log_loss),
        (calibration_demand("The expected calibration error", gates.calibration), metrics.calibration),
    )
    return judge_each(demanded, confidence=gates.confidence, code=code, source=source)


def log_loss_demand(bound: float) -> Demand:
    return Demand(code="eval.log_loss", what="Log loss", side=Side.AT_MOST, bound=bound, unit="nats")


def calibration_demand(what: str, bound: float) -> Demand:
    return Demand(
        code="eval.calibration",
        what=what,
        side=Side.AT_MOST,
        bound=bound,
        cause="Noise raises this error when rows are few.",
    )


def baseline_finding(found: Gain, what: str, gates: Gates | MulticlassGates) -> Finding:
    """The gain in log loss over always predicting `what` must exceed the charter's, beyond chance."""
    demand = Demand(
        code="eval.baseline",
        what=f"The gain in log loss over always predicting {what}",
        side=Side.ABOVE,
        bound=gates.baseline_log_loss_gain,
        unit="nats",
    )
    return judge(demand, found.log_loss, confidence=gates.confidence)


def champion_findings(found: Gain | None, gates: Gates | MulticlassGates, *, instead: str) -> tuple[Finding, ...]:
    """Non-inferiority in ROC AUC and in log loss; without a champion, a PASS that says what was compared `instead`."""
    if found is None:
        return (no_champion(instead),)
    ranking = Demand(
        code="eval.champion",
        what="The gain in ROC AUC over the champion",
        side=Side.AT_LEAST,
        bound=-gates.champion.roc_auc_margin,
        subject="roc_auc",
    )
    loss = Demand(
        code="eval.champion",
        what="The gain in log loss over the champion",
        side=Side.AT_LEAST,
        bound=-gates.champion.log_loss_margin,
        unit="nats",
        subject="log_loss",
    )
    return judge_each([(ranking, found.roc_auc), (loss, found.log_loss)], confidence=gates.confidence)


def no_champion(baseline: str) -> Finding:
    """The PASS of a candidate that there is nothing to compare with but a baseline."""
    return Finding(
        code="eval.champion",
        outcome=Outcome.PASS,
        source="holdout",
        reason="There is no champion yet, so there is nothing to be worse than. The candidate was compared with "
        f"{baseline} alone; the first promotion rests on that and on a person's reason.",
    )


def cheaper_finding(
    name: str, found: Estimate, main: float, *, bound: float, confidence: float, unit: str = ""
) -> Finding:
    """A loss of the cheaper model against the model's own bound, and how much worse it is than the model's (`main`).

    `name`: the metric's, as the charter has it. A warning: a cheaper model that is not good enough is left out, and the
    model serves without one.
    """
    shown = "Log loss" if name == "log_loss" else name.upper()
    demand = Demand(
        code="register.cheaper",
        what=f"{shown} of the cheaper model",
        side=Side.AT_MOST,
        bound=bound,
        unit=unit,
        subject=name,
    )
    judged, worse = judge(demand, found, confidence=confidence), found.value - main
    by = f"{number(abs(worse))} {unit}".rstrip()
    told = f"{judged.reason} It is {by} {'worse' if worse >= 0 else 'better'} than the model."
    return judged.model_copy(update={"severity": Severity.WARNING, "reason": told})


def unknown_yet(rows: int, needed: str) -> Finding:
    """A watched window in which too few labels are known."""
    return Finding(
        code="monitor.performance",
        outcome=Outcome.INCONCLUSIVE,
        sample_size=rows,
        source="watched window",
        reason=f"{count(rows)} have a known label: at least {needed} are needed.",
    )


def latency_finding(latencies_ms: ArrayLike, bound_ms: float) -> Finding:
    """The 95th percentile of single-row prediction times against the budget. Volatile: it differs from run to run.

    Judged by the estimate alone: an interval's end would make the outcome, which is digested, differ as well.
    """
    times = np.asarray(latencies_ms, dtype=np.float64)
    times = times[np.isfinite(times)]
    bound = f"<= {number(bound_ms)}"
    if times.size < MIN_LATENCIES:
        return Finding(
            code="eval.latency",
            outcome=Outcome.INCONCLUSIVE,
            bound=bound,
            unit="ms",
            sample_size=int(times.size),
            source="single-row predictions",
            reason=f"Only {count(int(times.size), 'prediction')} were timed; at least {MIN_LATENCIES} are needed.",
            volatile=True,
        )
    p95, median = (float(value) for value in np.percentile(times, [95, 50]))
    held = p95 <= bound_ms
    return Finding(
        code="eval.latency",
        outcome=Outcome.PASS if held else Outcome.FAIL,
        measured=round(p95, 3),
        bound=bound,
        unit="ms",
        sample_size=int(times.size),
        source="single-row predictions",
        reason=f"95 of 100 single-row predictions took at most {p95:.3g} ms (median {median:.3g} ms, "
        f"{count(int(times.size), 'prediction')}): {'within' if held else 'over'} the budget of {number(bound_ms)} ms.",
        volatile=True,
    )
