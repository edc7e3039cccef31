"""Counts of a turn of the event loop: in the metrics when the turn is over, each written once."""

from __future__ import annotations

import asyncio

from prometheus_client import CollectorRegistry, Counter, Histogram

from towpath.gateway.metrics import Tally


def test_what_is_counted_in_a_turn_is_there_after_it() -> None:
    registry = CollectorRegistry()
    counter = Counter("asked", "Asked.", ["who"], registry=registry)
    one, two = counter.labels("one"), counter.labels("two")

    async def run() -> None:
        tally = Tally()
        for amount in (1.0, 2.0):
            tally.count(one, amount)
        tally.count(two)
        assert registry.get_sample_value("asked_total", {"who": "one"}) == 0
        await asyncio.sleep(0)
        tally.count(two)
        tally.flush()
        await asyncio.sleep(0)

    asyncio.run(run())
    assert registry.get_sample_value("asked_total", {"who": "one"}) == 3
    assert registry.get_sample_value("asked_total", {"who": "two"}) == 2


def test_a_histogram_is_as_its_own_observe_makes_it() -> None:
    registry, other = CollectorRegistry(), CollectorRegistry()
    mine = Histogram("took", "Took.", registry=registry, buckets=(0.5, 1.0))
    theirs = Histogram("took", "Took.", registry=other, buckets=(0.5, 1.0))
    seen = (0.0, 0.5, 0.75, 1.0, 1.5, 100.0)

    async def run() -> None:
        tally = Tally()
        for value in seen:
            tally.observe(mine, value)
        await asyncio.sleep(0)

    asyncio.run(run())
    for value in seen:
        theirs.observe(value)

    def told(one: CollectorRegistry) -> list[tuple[str, dict[str, str], float]]:
        return [
            (sample.name, dict(sample.labels), sample.value)
            for metric in one.collect()
            for sample in metric.samples
            if not sample.name.endswith("_created")
        ]

    assert told(registry) == told(other)
