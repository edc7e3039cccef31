"""The path with Feast's online store in Redis: features materialized there, and proven equal to the offline join."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from path import small
from servers.redis import RedisServer
from towpath import wiring
from towpath.core.evidence import Outcome
from towpath.core.gates import Stage
from towpath.ports import Lookup
from towpath.stages.featurize import feature_state

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),  # Feast announces its experimental parts
]


@pytest.mark.slow
def test_featurize_passes_its_parity_gate_on_redis(project: Path, tmp_path: Path, redis_server: RedisServer) -> None:
    small.section(
        project / "feature_repo" / "feature_store.yaml",
        "online_store:",
        "offline_store:",
        f'online_store:\n  type: redis\n  connection_string: "{redis_server.connection_string},db=3"\n',
    )
    with small.opened(project, tmp_path / "state") as work:
        candidate = small.walk(work, until=Stage.FEATURIZE)
        entry = candidate.entry(Stage.FEATURIZE)
        parity = [finding for finding in entry.findings if finding.code == "features.offline_online"]
        assert {finding.outcome for finding in parity} == {Outcome.PASS}
        assert {finding.subject for finding in parity} == set(entry.facts["views"])
        sources, state = feature_state(work, candidate)
        assert sources.is_dir()
        assert not (state / "online.db").exists(), "nothing went to SQLite"
        store = wiring.open_online(small.settings(tmp_path / "state"), work.project.repository, state)

    async def read() -> object:
        wanted = Lookup(view="carrier_delays", keys=[("UA",), ("??",)], features=["carrier_landed_24h"])
        (answers,) = await store.read([wanted])
        await store.close()
        return [answer.values if answer else None for answer in answers]

    found = asyncio.run(read())
    assert isinstance(found, list)
    assert found[0]["carrier_landed_24h"] > 0
    assert found[1] is None
