"""The online store read directly: equal to Feast's own answer on every row, in both stores, for every kind of value."""

from __future__ import annotations

import asyncio
import logging
import math
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from adapters.online_shops import ASKED, NOON, SQLITE, Online, flat, lay
from servers.redis import RedisServer
from towpath.adapters.feast_features import FeastFeatures
from towpath.adapters.online_description import Description, described
from towpath.adapters.online_features import FeastOnline, open_as_described, open_online
from towpath.adapters.online_redis import RedisOnline, address_of
from towpath.adapters.online_sqlite import SqliteOnline
from towpath.core.errors import DeclarationError, NotFound, Unreachable
from towpath.ports import Lookup, OnlineStore

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),  # Feast announces its experimental parts
]


@pytest.fixture(scope="module")
def in_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Online:
    return lay(tmp_path_factory.mktemp("sqlite"), SQLITE)


@pytest.fixture(scope="module")
def in_redis(tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer) -> Online:
    return lay(tmp_path_factory.mktemp("redis"), redis(redis_server))


@pytest.fixture(params=["in_sqlite", "in_redis"])
def online(request: pytest.FixtureRequest) -> Online:
    found: Online = request.getfixturevalue(request.param)
    return found


@cache
def told(online: Online) -> Description:
    """Feast takes seconds to say."""
    return described(online.repository, online.state)


def store_of(online: Online) -> OnlineStore:
    return open_as_described(online.repository, online.state, told(online))


def redis(server: RedisServer) -> str:
    return f'{{type: redis, connection_string: "{server.connection_string}"}}'


def read(
    store: OnlineStore, view: str, keys: Sequence[tuple[Any, ...]], features: Sequence[str]
) -> list[dict[str, Any]]:
    async def once() -> list[dict[str, Any]]:
        try:
            (found,) = await store.read([Lookup(view=view, keys=keys, features=features)])
            return [flat(answer, features) for answer in found]
        finally:
            await store.close()

    return asyncio.run(once())


def features_of(online: Online, view: str) -> list[str]:
    return list(told(online).view(view).features)


def same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one) and math.isnan(other):
        return True
    return type(one) is type(other) and bool(one == other)


@pytest.mark.parametrize("view", ASKED)
@pytest.mark.parametrize("together", [True, False], ids=["many keys", "one key at a time"])
def test_every_answer_is_feasts_own(online: Online, view: str, together: bool) -> None:
    features = features_of(online, view)
    expected = online.feast(view, ASKED[view], features)
    asked = [ASKED[view]] if together else [[key] for key in ASKED[view]]
    found = [row for keys in asked for row in read(store_of(online), view, keys, features)]
    for row, (mine, theirs) in enumerate(zip(found, expected, strict=True)):
        # Feast's Redis store calls an entity that is not there one of 1970
        assert {name: value for name, value in mine.items() if not same(value, theirs[name])} == {}, ASKED[view][row]
    assert any(row["at"] for row in found), "something was compared"


def test_some_features_in_another_order(online: Online) -> None:
    wanted = ["visits", "taken"]
    assert read(store_of(online), "takings", [("north",)], wanted) == online.feast("takings", [("north",)], wanted)
    assert read(store_of(online), "kinds", [("north",)], ["word"]) == online.feast("kinds", [("north",)], ["word"])


def test_views_of_the_same_entities_asked_for_together_each_get_their_own(online: Online) -> None:
    """Redis answers them by one command; a key that only one of them knows, and none, are among them."""
    keys: list[tuple[Any, ...]] = [("north",), ("nowhere",), (None,), ("east",), ("empty",), (1,)]
    wanted = [
        Lookup(view="takings", keys=keys, features=["visits"]),
        Lookup(view="kinds", keys=keys, features=["word", "ratio"]),
        Lookup(view="stock", keys=[("north", 1)], features=["pieces"]),
        Lookup(view="kinds", keys=[("south",)], features=["word"]),
        Lookup(view="takings", keys=[("north",)], features=["taken"]),
    ]

    async def together() -> list[list[dict[str, Any]]]:
        store = store_of(online)
        try:
            found = await store.read(wanted)
        finally:
            await store.close()
        return [[flat(one, lookup.features) for one in each] for lookup, each in zip(wanted, found, strict=True)]

    assert asyncio.run(together()) == [read(store_of(online), one.view, one.keys, one.features) for one in wanted]


@pytest.mark.slow
def test_it_is_opened_in_a_process_of_its_own(online: Online) -> None:
    code = (
        "import sys, asyncio\nfrom pathlib import Path\nfrom towpath.adapters.online_features import open_online\n"
        "from towpath.ports import Lookup\n"
        "store = open_online(Path(sys.argv[1]), Path(sys.argv[2]))\n"
        "async def once():\n    wanted = Lookup(view='takings', keys=[('north',)], features=['visits'])\n"
        "    print(await store.read([wanted]), type(store).__name__)\n"
        "    await store.close()\n"
        "asyncio.run(once())"
    )
    command = [sys.executable, "-c", code, str(online.repository), str(online.state)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, env={"PYTHONPATH": ":".join(sys.path), "PATH": ""}
    )
    assert "Online" in done.stdout, done.stderr


def test_keys_that_no_entity_can_have_are_not_there(online: Online) -> None:
    store = store_of(online)
    keys: list[tuple[Any, ...]] = [("north", None), ("north", "1"), (3, 1), ("north", 2**70), ("north", True)]
    keys += [("north", 1.5), ("north", 1.0), ("north", 1)]
    found = read(store, "stock", keys, ["pieces"])
    assert [row["pieces"] for row in found] == [None] * 6 + [7, 7]


def test_more_keys_than_are_read_inline(online: Online) -> None:
    keys = [(f"nobody {number}",) for number in range(700)] + [("north",), ("south",), ("north",)]
    found = read(store_of(online), "takings", keys, ["visits"])
    assert [row["visits"] for row in found] == [None] * 700 + [-2, 0, -2]


def test_an_old_row_is_answered_with_its_time_for_the_caller_to_judge(online: Online) -> None:
    """Feast answers what lies in the store, however old; the view's time to live is the reader's to apply."""
    store = store_of(online)
    assert isinstance(store, SqliteOnline | RedisOnline)
    assert store.views["takings"].ttl_seconds == 2 * 86_400
    assert store.views["stock"].ttl_seconds == 0
    found = read(store, "stock", [("north", 1)], ["pieces"])
    assert found[0]["at"].year == 1950


def test_an_unknown_view_lists_those_there_are(online: Online) -> None:
    with pytest.raises(NotFound, match=r"no feature view 'takins'\. Valid: .*takings"):
        read(store_of(online), "takins", [("north",)], ["taken"])


def test_feast_itself_answers_the_same_for_stores_that_are_not_known(online: Online) -> None:
    description = told(online)
    for view, keys in ASKED.items():
        features = list(description.view(view).features)
        slow = read(FeastOnline(online.repository, online.state, description), view, keys, features)
        fast = read(store_of(online), view, keys, features)
        assert slow == fast


@pytest.mark.slow
def test_an_unknown_store_is_read_through_feast_with_a_warning(
    in_sqlite: Online, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "repository"
    copy.mkdir()
    for file in in_sqlite.repository.glob("*.*"):
        text = file.read_text()
        (copy / file.name).write_text(
            text.replace("type: sqlite", "type: adapters.online_unknown.OtherSqliteOnlineStore")
        )
    with caplog.at_level(logging.WARNING):
        store = open_online(copy, in_sqlite.state)
    assert isinstance(store, FeastOnline)
    assert "is read through Feast, which is slow: its layout is not known" in caplog.text
    assert read(store, "takings", [("north",), (None,)], ["visits"])[0]["visits"] == -2


@pytest.mark.parametrize(
    ("options", "direct"),
    [
        ({"connection_string": "redis:6379"}, True),
        ({"connection_string": "redis:6379,db=2,ssl=true,username=me,password=1234"}, True),
        ({"connection_string": "one:1,two:2"}, False),
        ({"connection_string": "one:1", "redis_type": "redis_cluster"}, False),
        ({"connection_string": "one:1,ssl_ca_certs=/x"}, False),
        ({"connection_string": "one"}, False),
    ],
)
def test_which_redis_is_read_directly(options: dict[str, str], direct: bool) -> None:
    found = address_of(options)
    assert (found is not None) is direct
    if found is not None and "db" in options["connection_string"]:
        assert (found.host, found.port, found.database, found.encrypted, found.username, found.password) == (
            *("redis", 6379, 2, True, "me"),
            "1234",
        )
        assert "1234" not in repr(found)


@pytest.mark.slow
def test_a_repository_that_feast_does_not_open_says_why(in_sqlite: Online, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no feature store state"):
        open_online(in_sqlite.repository, tmp_path / "nothing")
    with pytest.raises(NotFound, match=r"no feature_store\.yaml"):
        open_online(tmp_path, in_sqlite.state)
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "feature_store.yaml").write_text("project: [")
    with pytest.raises(DeclarationError, match=r"feature_store\.yaml is not valid"):
        open_online(broken, in_sqlite.state)


def test_a_sqlite_store_that_is_not_there_is_named(in_sqlite: Online) -> None:
    found = told(in_sqlite)
    with pytest.raises(NotFound, match="no online store at"):
        SqliteOnline(Description(**{**vars(found), "options": {"path": "/nothing.db"}}))


def test_a_sqlite_store_that_is_closed_is_unreachable(in_sqlite: Online) -> None:
    store = store_of(in_sqlite)
    read(store, "takings", [("north",)], ["visits"])
    with pytest.raises(Unreachable, match="does not answer"):
        read(store, "takings", [("north",)], ["visits"])


def test_the_parity_gate_passes_with_redis(tmp_path: Path, mortal_redis: Callable[[], RedisServer]) -> None:
    online = lay(tmp_path / "shops", redis(mortal_redis()))
    port = FeastFeatures()
    found, _, _ = port.parity(
        online.repository,
        "everything",
        sources=online.sources,
        spine=tmp_path / "shops" / "spine.parquet",
        until=NOON,
        sample=10,
        folder=tmp_path,
    )
    assert {item.view: item.differing for item in found} == dict.fromkeys(ASKED, 0)
    assert all(item.sampled for item in found)
