"""The evidence of a rollout, read from the prediction log and the labels. Needs nothing but the log's own place."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime

from towpath.adapters import prediction_log_sql as sql
from towpath.adapters.prediction_log_counts import Place as Where
from towpath.adapters.prediction_log_counts import settled
from towpath.adapters.prediction_log_places import Place
from towpath.adapters.prediction_log_reader import Reader
from towpath.core.guardrails import Exceedance, Guardrail, Mean, Rate, bound_of
from towpath.core.judge import Arm, Look, Moments, Stratum
from towpath.core.rollout import Rollout, Telemetry
from towpath.core.rollout_policy import RolloutPolicy
from towpath.ports import Baseline

_logger = logging.getLogger(__name__)
_NEWEST = 60_000_000  # microseconds before the newest request in which a gateway that runs has logged something
_READERS = 4  # rollouts whose rows are kept between looks
_BINS = 20


class PredictionLogEvidence:
    """The port `Evidence`. Keeps what it has read of a rollout, so that the next look reads only new files."""

    def __init__(self, place: Place, *, clock: Callable[[], datetime]) -> None:
        self._place = place
        self._clock = clock
        self._readers: dict[str, Reader] = {}
        self._looks: dict[str, tuple[object, Look]] = {}  # the last one, with what it was asked of

    def look(self, rollout: Rollout) -> Look:
        """The evidence since the rollout's start. Raises `Unreachable`, `Misconfigured` or `IntegrityError`."""
        reader = self._reader(rollout)
        asked = (reader.version, rollout.policy, dict(rollout.thresholds), rollout.unit, rollout.judge.seen)
        before = self._looks.get(rollout.rollout_id)
        if before is None or before[0] != asked:
            self._looks = {rollout.rollout_id: (asked, _look(reader, rollout))}
        return self._looks[rollout.rollout_id][1]

    def telemetry(self, rollout: Rollout) -> Telemetry:
        """Whether gateways are heard, and whether each of those heard last holds the rollout.

        A gateway writes a rollout's id with its requests when it holds both models.
        """
        reader = self._reader(rollout)
        newest = reader.ask("SELECT max(instant) FROM heard WHERE worker IS NOT NULL")[0][0]
        if newest is None:
            return Telemetry()
        holding = reader.ask(
            "SELECT arg_max(rollout, instant) FROM heard WHERE worker IS NOT NULL AND instant >= ? GROUP BY worker",
            [newest - _NEWEST],
        )
        unit = "request" if rollout.unit is None else "unit"
        shadowed, failed = reader.ask(
            f"SELECT count(DISTINCT {unit}), count(DISTINCT {unit}) FILTER (failed) FROM log WHERE arm = 'shadow'"
        )[0]
        return Telemetry(
            at=_time(newest),
            ready=all(row[0] == rollout.rollout_id for row in holding),
            shadowed=shadowed,
            shadow_failed=failed,
        )

    def baseline(self, project: str, *, model: str, policy: RolloutPolicy, since: datetime) -> Baseline | None:
        """What the log says of the model with that digest, as champion, since then; None when it says nothing."""
        reader = Reader(self._place, project, column="model", value=model, since=since)
        try:
            reader.refresh(self._today())
            reader.ask("DELETE FROM log WHERE instant < ?", [round(since.timestamp() * 1_000_000)])
            kind = sql.CLASSES if reader.classed else sql.BINARY
            reader.ask(sql.served(by_request=policy.unit is None, labelled=True, kind=kind, arms=("champion",)))
            return _baseline(reader, policy)
        finally:
            reader.close()

    def close(self) -> None:
        """Forget what was read."""
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()

    def _reader(self, rollout: Rollout) -> Reader:
        """The rollout's rows up to now."""
        reader = self._readers.pop(rollout.rollout_id, None)
        if reader is None:
            self._looks.pop(rollout.rollout_id, None)
            reader = Reader(
                self._place, rollout.project, column="rollout", value=rollout.rollout_id, since=rollout.started_at
            )
        self._readers[rollout.rollout_id] = reader
        while len(self._readers) > _READERS:
            self._readers.pop(next(iter(self._readers))).close()
        reader.refresh(self._today())
        return reader

    def _today(self) -> date:
        return self._clock().astimezone(UTC).date()


def _look(reader: Reader, rollout: Rollout) -> Look:
    guardrails = rollout.policy.guardrails
    delayed = any(guardrail.delayed for guardrail in guardrails)
    kind = sql.CLASSES if reader.classed else sql.BINARY
    reader.ask(sql.served(by_request=rollout.unit is None, labelled=delayed, kind=kind))
    requests, nobody = reader.ask(sql.REQUESTS)[0]
    if nobody:
        _logger.info("rollout=%s rows without a unit, not judged: %d", rollout.rollout_id, nobody)
    units = {(step, weight, arm): count for step, weight, arm, count in reader.ask(sql.UNITS)}
    bad: dict[str, dict[Where, int]] = {}
    means: dict[str, dict[Where, Moments]] = {}
    for guardrail in guardrails:
        if isinstance(guardrail, Mean):
            means[guardrail.name] = _moments(reader, guardrail, rollout.thresholds)
        else:
            found = _first_bad(reader, guardrail, rollout.thresholds)
            bad[guardrail.name] = settled(found, _judged(rollout, guardrail.name))
    measured = {one.name for one in guardrails if _bound(one, rollout.thresholds) is not None}
    scores = _scores(reader, classed=reader.classed)

    def arm(where: Where) -> Arm:
        return Arm(
            units=units.get(where, 0),
            bad={name: counts.get(where, 0) for name, counts in bad.items() if name in measured},
            means={name: found.get(where, Moments()) for name, found in means.items() if name in measured},
            scores=scores.get(where, ()),
        )

    return Look(
        watermark=reader.watermark,
        requests=requests,
        strata=tuple(
            Stratum(
                step=step,
                weight=weight,
                champion=arm((step, weight, "champion")),
                challenger=arm((step, weight, "challenger")),
            )
            for step, weight in sorted({(step, weight) for step, weight, _ in units})
        ),
        hard=_hard(reader, rollout),
    )


def _baseline(reader: Reader, policy: RolloutPolicy) -> Baseline | None:
    requests, units, first, until = reader.ask(
        "SELECT count(DISTINCT request), count(DISTINCT unit), min(instant), max(instant) FROM served"
    )[0]
    if not requests:
        return None
    thresholds: dict[str, float] = {}
    for guardrail in policy.guardrails:
        if guardrail.name in policy.frozen and not isinstance(guardrail, Rate):
            found = reader.ask(sql.p99(guardrail.of))[0][0]
            thresholds |= {} if found is None else {guardrail.name: found}
    rates: dict[str, float] = {}
    for guardrail in policy.guardrails:
        bound = _bound(guardrail, thresholds)
        if bound is None:
            continue
        if isinstance(guardrail, Rate):
            found = reader.ask(sql.share_bad(sql.event(guardrail.event)))[0][0]
        elif isinstance(guardrail, Exceedance):
            found = reader.ask(sql.share_bad(sql.above(guardrail.of)), [bound])[0][0]
        else:
            found = reader.ask(sql.deviation(guardrail.of), [bound])[0][0]
        rates |= {} if found is None else {guardrail.name: found}
    return Baseline(
        since=_time(first), until=_time(until), requests=requests, units=units, thresholds=thresholds, rates=rates
    )


def _bound(guardrail: Guardrail, thresholds: Mapping[str, float]) -> float | None:
    """The value that it compares with, 0 for a rate; None when the champion's was not measured."""
    if isinstance(guardrail, Rate):
        return 0.0
    declared = bound_of(guardrail)
    return thresholds.get(guardrail.name, declared if isinstance(declared, int | float) else None)


def _condition(guardrail: Rate | Exceedance, thresholds: Mapping[str, float]) -> tuple[str, list[float]] | None:
    if isinstance(guardrail, Rate):
        return sql.event(guardrail.event), []
    bound = _bound(guardrail, thresholds)
    return None if bound is None else (sql.above(guardrail.of), [bound])


def _first_bad(reader: Reader, guardrail: Rate | Exceedance, thresholds: Mapping[str, float]) -> dict[Where, int]:
    condition = _condition(guardrail, thresholds)
    if condition is None:
        return {}
    found = reader.ask(sql.first_bad(condition[0]), condition[1])
    return {(step, weight, arm): count for step, weight, arm, count in found}


def _moments(reader: Reader, guardrail: Mean, thresholds: Mapping[str, float]) -> dict[Where, Moments]:
    cap = _bound(guardrail, thresholds)
    if cap is None:
        return {}
    return {
        (step, weight, arm): Moments(n=count, total=int(total) / sql.NANO, squares=int(squares) / sql.NANO**2)
        for step, weight, arm, count, total, squares in reader.ask(sql.moments(guardrail.of), [cap])
    }


def _scores(reader: Reader, *, classed: bool) -> dict[Where, tuple[int, ...]]:
    """Predictions by twenty bins of their probability, or by the classes that any of the rows was given."""
    found = reader.ask(sql.SCORES)
    bins = sorted({row[3] for row in found}) if classed else range(_BINS)
    places = {one: place for place, one in enumerate(bins)}
    counts: dict[Where, list[int]] = defaultdict(lambda: [0] * len(places))
    for step, weight, arm, one, count in found:
        counts[step, weight, arm][places[one]] = count
    return {where: tuple(counted) for where, counted in counts.items()}


def _hard(reader: Reader, rollout: Rollout) -> dict[str, tuple[int, int]]:
    found = {}
    for limit in rollout.policy.hard_limits:
        guardrail = rollout.policy.guardrail(limit.metric)
        condition = None if isinstance(guardrail, Mean) else _condition(guardrail, rollout.thresholds)
        if condition is not None:
            bad, units = reader.ask(sql.ever_bad(condition[0]), condition[1])[0]
            found[limit.metric] = (bad, units)
    return found


def _judged(rollout: Rollout, name: str) -> dict[Where, int]:
    """Bad units as the last judgement counted them."""
    found: dict[Where, int] = {}
    for seen in rollout.judge.seen:
        champion, challenger = seen.bad.get(name, (0, 0))
        found[seen.step, seen.weight, "champion"] = champion
        found[seen.step, seen.weight, "challenger"] = challenger
    return found


def _time(microseconds: int) -> datetime:
    return datetime.fromtimestamp(microseconds / 1_000_000, tz=UTC)
