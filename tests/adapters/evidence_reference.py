"""A slow, plain reading of the same lines, to hold the evidence to."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from towpath.core.guardrails import Event, Exceedance, Mean, Measure, Rate
from towpath.core.judge import Arm, Look, Moments, Stratum
from towpath.core.rollout import Rollout

Row = dict[str, Any]
EPSILON = 2.220446049250313e-16


def rows_of(lines: Iterable[Mapping[str, Any]], rollout: Rollout) -> list[Row]:
    """The rows of a rollout that answered somebody."""
    found = []
    for one in lines:
        if _is_label(one) or one["rollout"] != rollout.rollout_id or one["arm"] == "shadow" or one["weight"] == 0:
            continue
        width = len(one.get("classes", ())) or 1
        for number, unit in enumerate(one["units"]):
            numbers = one["predictions"][number * width :][:width] if one["predictions"] else None
            chances = dict(zip(one["classes"], numbers, strict=True)) if numbers and "classes" in one else None
            found.append(
                {
                    **one,
                    "row": number,
                    "unit": one["request"] if rollout.unit is None else unit,
                    "key": one["keys"][number],
                    "chances": chances,
                    "predicted": max(chances, key=lambda name: chances[name]) if chances else None,
                    "prediction": numbers[0] if numbers and chances is None else None,
                    "where": (one["step"], one["weight"], one["arm"]),
                }
            )
    return found


def _is_label(one: Mapping[str, Any]) -> bool:
    return "label" in one or "class" in one


def labels_of(lines: Iterable[Mapping[str, Any]], column: str) -> tuple[dict[Any, Row], dict[Any, Row]]:
    """The first label by request and row, and by key; of several at once the lesser."""
    named: dict[Any, Row] = {}
    keyed: dict[Any, Row] = {}
    told = [one | {"label": one[column]} for one in lines if one.get(column) is not None]  # type: ignore[operator]
    for one in sorted(told, key=lambda one: (one["at"], one["label"])):
        if one["request"] is not None:
            named.setdefault((one["request"], one["row"]), dict(one))
        else:
            keyed.setdefault(one["key"], dict(one))
    return named, keyed


def value(row: Row, measure: Measure) -> float | None:
    """What a row measures; None when it is not known."""
    if measure is Measure.LATENCY_MS:
        return float(row["latency_ms"])
    if row["label"] is not None and row["chances"] is not None:
        return _of_classes(row["chances"], row["label"], measure)
    if row["label"] is None or row["prediction"] is None:
        return None
    if measure is Measure.BRIER:
        return float((row["prediction"] - row["label"]) ** 2)
    chance = min(max(row["prediction"], EPSILON), 1 - EPSILON)
    return -math.log(chance if row["label"] else 1 - chance)


def _of_classes(chances: Mapping[str, float], label: str, measure: Measure) -> float:
    every = {label: 0.0, **chances}
    if measure is Measure.BRIER:
        return sum((chance - (name == label)) ** 2 for name, chance in every.items())
    return -math.log(min(max(every[label], EPSILON), 1 - EPSILON))


def is_bad(row: Row, guardrail: Rate | Exceedance, thresholds: Mapping[str, float]) -> bool:
    if isinstance(guardrail, Rate):
        failed = row["fallback"] is not None or (guardrail.event is Event.ERROR and row["error"] is not None)
        return bool(failed)
    found = value(row, guardrail.of)
    return found is not None and found > thresholds[guardrail.name]


def look(lines: list[Mapping[str, Any]], rollout: Rollout) -> Look:
    """The same look, without its watermark."""
    rows = rows_of(lines, rollout)
    classed = any(row["predicted"] is not None for row in rows)
    named, keyed = labels_of(lines, "class" if classed else "label")
    for row in rows:
        both = [one for one in (named.get((row["request"], row["row"])), keyed.get(row["key"])) if one is not None]
        row["label"] = min(both, key=lambda one: float(one["at"]))["label"] if both else None
    requests = len({row["request"] for row in rows})
    rows = [row for row in rows if row["unit"] is not None]
    rows.sort(key=lambda row: (round(row["at"] * 1e6), row["request"], row["row"], row["arm"]))
    units: dict[Any, set[str]] = defaultdict(set)
    own = [row for row in rows if row["fallback"] is None]
    bins = sorted({row["predicted"] for row in own if row["predicted"] is not None}) if classed else range(20)
    scores: dict[Any, list[int]] = defaultdict(lambda: [0] * len(bins))
    for row in rows:
        units[row["where"]].add(row["unit"])
        if row["fallback"] is None and row["predicted"] is not None:
            scores[row["where"]][bins.index(row["predicted"])] += 1
        elif row["fallback"] is None and row["prediction"] is not None and 0 <= row["prediction"] <= 1:
            scores[row["where"]][min(19, math.floor(row["prediction"] * 20))] += 1
    bad: dict[str, dict[Any, int]] = {}
    means: dict[str, dict[Any, Moments]] = {}
    for guardrail in rollout.policy.guardrails:
        if isinstance(guardrail, Mean):
            means[guardrail.name] = _moments(rows, guardrail, rollout.thresholds)
            continue
        first: dict[str, Any] = {}
        for row in rows:
            if is_bad(row, guardrail, rollout.thresholds):
                first.setdefault(row["unit"], row["where"])
        bad[guardrail.name] = {where: list(first.values()).count(where) for where in units}

    def arm(where: Any) -> Arm:
        return Arm(
            units=len(units[where]),
            bad={name: counts.get(where, 0) for name, counts in bad.items()},
            means={name: found.get(where, Moments()) for name, found in means.items()},
            scores=tuple(scores[where]) if where in scores else (),
        )

    places = sorted({where[:2] for where in units})
    return Look(
        watermark="",
        requests=requests,
        strata=tuple(
            Stratum(step=step, weight=weight, champion=arm((step, weight, "champion")),
                    challenger=arm((step, weight, "challenger")))
            for step, weight in places
        ),
        hard={
            limit.metric: (
                len({r["unit"] for r in rows if r["arm"] == "challenger" and is_bad(
                    r, rollout.policy.guardrail(limit.metric), rollout.thresholds)}),  # type: ignore[arg-type]
                len({r["unit"] for r in rows if r["arm"] == "challenger"}),
            )
            for limit in rollout.policy.hard_limits
        },
    )  # fmt: skip


def _moments(rows: list[Row], guardrail: Mean, thresholds: Mapping[str, float]) -> dict[Any, Moments]:
    values: dict[Any, list[float]] = defaultdict(list)
    for row in rows:
        found = value(row, guardrail.of)
        if found is not None:
            values[row["where"], row["unit"]].append(min(found, thresholds[guardrail.name]))
    means: dict[Any, list[float]] = defaultdict(list)
    for (where, _), some in values.items():
        means[where].append(sum(some) / len(some))
    return {
        where: Moments(n=len(some), total=sum(some), squares=sum(one * one for one in some))
        for where, some in means.items()
    }
