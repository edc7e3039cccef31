"""Comparing is pure, and putting back what it found leaves nothing to find, whatever was moved, in whatever order."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconcile.fake_registry import AT, FakeRegistry
from towpath.core import names
from towpath.core.errors import NotFound
from towpath.core.reconciliation import Found, Loaded, Serving, Wanted, compare, sees
from towpath.core.reconciliation_models import WantedModels, WantedVersion
from towpath.stages.reconcile_restore import restore

NAME = "flights"
LATER = AT + timedelta(hours=1)
ROUNDS = 4


def version(number: int, *, champion: bool = False, former: bool = False) -> WantedVersion:
    outcome, decision = (("PROMOTE",), ("d2",)) if champion else (("PASS",), ("",))
    if former:
        outcome, decision = ("PROMOTE", "PASS"), ("d1", "")
    return WantedVersion(
        version=str(number),
        run_id=f"run{number}",
        model_id=f"m{number}",
        tags={
            names.TAG_PROJECT: (NAME,),
            names.TAG_CANDIDATE: (f"c{number}",),
            names.TAG_MODEL: (f"w{number}",),
            names.TAG_OUTCOME: outcome,
            names.TAG_DECISION: decision,
        },
    )


WANTED = WantedModels(
    name=NAME,
    versions=(version(1, former=True), version(2, champion=True), version(3)),
    champion="2",
    candidate="3",
    before="1",
)


def registry() -> FakeRegistry:
    """As the path leaves it."""
    made = FakeRegistry()
    for one in WANTED.versions:
        tags = {key: right[0] for key, right in one.tags.items()}
        made.create(NAME, run_id=one.run_id, model_id=one.model_id, tags=tags)
    made.point(NAME, names.ALIAS_CHAMPION, "2")
    made.point(NAME, names.ALIAS_CANDIDATE, "3")
    made.changes = 0
    return made


def found(made: FakeRegistry) -> Found:
    runs = {one.run_id: one.model_id for one in WANTED.versions}
    return Found(models=made.look(NAME, runs=runs, at=LATER))


def reconciled(made: FakeRegistry, wanted: WantedModels = WANTED) -> int:
    """Put back until nothing differs; how many rounds that took."""
    for turn in range(ROUNDS + 1):
        seen = found(made)
        drifts = compare(Wanted(models=wanted), seen)
        if not drifts:
            return turn
        assert seen.models is not None
        for one in drifts:
            restore(made, one, wanted, seen.models)
    raise AssertionError(drifts)


numbers = st.sampled_from(["1", "2", "3"])
moves: st.SearchStrategy[Callable[[FakeRegistry], object]] = st.one_of(
    st.tuples(st.sampled_from([names.ALIAS_CHAMPION, names.ALIAS_CANDIDATE]), st.none() | numbers).map(
        lambda given: lambda made: made.point(NAME, *given)
    ),
    st.tuples(
        numbers,
        st.sampled_from([names.TAG_DECISION, names.TAG_OUTCOME, names.TAG_CANDIDATE, names.TAG_MODEL, "mine"]),
        st.sampled_from(["", "forged", "PROMOTE", "d1", "d2", "c1"]),
    ).map(lambda given: lambda made: made.tag(NAME, given[0], {given[1]: given[2]})),
    st.tuples(numbers, st.sampled_from(["Production", "Archived"])).map(
        lambda given: lambda made: made.stage(NAME, *given)
    ),
    numbers.map(lambda given: lambda made: made.delete(NAME, given)),
    st.just(lambda made: made.rename(NAME, "mine")),
    st.just(lambda made: made.drop(NAME)),
)


@given(st.lists(moves, max_size=6))
def test_putting_back_is_idempotent(moved: list[Callable[[FakeRegistry], object]]) -> None:
    made = registry()
    for move in moved:
        with suppress(KeyError, NotFound):  # what is gone cannot be moved
            move(made)
    reconciled(made)
    state = (made.aliases, made.versions)
    changes = made.changes
    assert reconciled(made) == 0
    assert (made.changes, (made.aliases, made.versions)) == (changes, state)
    champion = made.versions[NAME][made.aliases[NAME][names.ALIAS_CHAMPION]]
    assert (champion.run_id, champion.source, champion.stage) == ("run2", "store/m2", "None")
    assert champion.tags[names.TAG_DECISION] == "d2"


def test_nothing_differs_from_what_the_path_left() -> None:
    assert compare(Wanted(models=WANTED), found(registry())) == ()


def test_what_was_not_seen_is_not_said_to_differ() -> None:
    wanted = Wanted(
        models=WANTED,
        stored="sha256:00",
        features={"view": {}},
        serving=Serving(model="m", version="1"),
        deployments={"x": {}},
    )
    assert compare(wanted, Found()) == ()
    for code in ("alias", "stored", "features", "gateway", "deployment"):
        assert not sees(Found(), f"reconcile.{code}", "gateway http://a")


def test_a_version_that_came_back_under_another_number_is_the_champion() -> None:
    made = registry()
    made.delete(NAME, "2")
    (gone,) = compare(Wanted(models=WANTED), found(made))
    assert (gone.code, gone.found) == ("reconcile.version", "deleted")
    assert reconciled(made) == 2
    assert made.aliases[NAME] == {"champion": "4", "candidate": "3"}


def test_former_champions_may_be_without_a_decision_that_was_never_shown() -> None:
    made = registry()
    made.tag(NAME, "1", {names.TAG_DECISION: "", names.TAG_OUTCOME: "PASS"})
    assert compare(Wanted(models=WANTED), found(made)) == ()
    made.tag(NAME, "1", {names.TAG_DECISION: "d2"})
    assert [one.code for one in compare(Wanted(models=WANTED), found(made))] == ["reconcile.tags"]


@pytest.mark.parametrize(
    ("alias", "decision", "lagging", "doubtful"),
    [
        ("1", "", True, False),
        ("2", "", True, False),
        ("1", "d2", False, True),
        (None, "", False, False),
        ("3", "", False, False),
        ("3", "d2", False, False),
    ],
)
def test_a_registry_that_was_not_shown_the_last_decision_lags(
    alias: str | None, decision: str, lagging: bool, doubtful: bool
) -> None:
    """What only looks so (an alias on a third version, or none where there was a champion before) was moved."""
    made, fresh = registry(), WANTED.model_copy(update={"fresh": True})
    made.tag(NAME, "2", {names.TAG_DECISION: decision, names.TAG_OUTCOME: "PROMOTE" if decision else "PASS"})
    made.point(NAME, names.ALIAS_CHAMPION, alias)
    drifts = compare(Wanted(models=fresh), found(made))
    assert drifts
    assert {(one.lagging, one.doubtful) for one in drifts} == {(lagging, doubtful)}
    assert not any(one.lagging or one.doubtful for one in compare(Wanted(models=WANTED), found(made)))


@pytest.mark.parametrize(
    ("model", "versions", "differs"),
    [
        ("m", ("2",), False),
        ("m", ("2", "3"), False),
        ("other", ("2",), True),
        ("m", ("3",), True),
        ("m", ("2", "1"), True),
    ],
)
def test_a_gateway_has_loaded_the_champion_and_only_who_takes_part(
    model: str, versions: tuple[str, ...], differs: bool
) -> None:
    wanted = Wanted(serving=Serving(model="m", version="2", others=("3",)))
    drifts = compare(wanted, Found(gateways={"http://a": Loaded(model=model, versions=versions)}))
    assert bool(drifts) is differs
    assert all(one.doubtful and not one.restorable for one in drifts)


def test_of_a_deployment_only_what_the_file_says_counts() -> None:
    wanted = Wanted(deployments={"tick/flights": {"entrypoint": "a.py:a", "paused": "false"}})
    same = {"tick/flights": {"entrypoint": "a.py:a", "paused": "false", "more": "x"}}
    assert compare(wanted, Found(deployments=same)) == ()
    (paused,) = compare(wanted, Found(deployments={"tick/flights": {"entrypoint": "a.py:a", "paused": "true"}}))
    assert paused.says == "deployment tick/flights is paused true instead of paused false"
    (gone,) = compare(wanted, Found(deployments={}))
    assert gone.found == "nothing"
