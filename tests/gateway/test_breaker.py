"""The circuit breaker as a state machine: what it does for every order of reads, pauses and ends."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from towpath.gateway.breaker import OPEN_SECONDS, STALLS, Breaker, admit, ended

events = st.lists(
    st.tuples(st.sampled_from(["read", "well", "stall"]), st.floats(min_value=0, max_value=2)), max_size=60
)


def _stalled(times: int, at: float = 0.0) -> Breaker:
    breaker = Breaker()
    for _ in range(times):
        breaker = ended(breaker, at, well=False)
    return breaker


def test_it_opens_after_five_stalls_in_a_row_and_not_before() -> None:
    assert _stalled(STALLS - 1).closed
    assert not _stalled(STALLS).closed


def test_one_good_read_forgets_the_stalls() -> None:
    breaker = ended(_stalled(STALLS - 1), 0.0, well=True)
    assert breaker == Breaker()


def test_while_it_is_open_nobody_asks_and_then_one_does() -> None:
    breaker = _stalled(STALLS, at=10.0)
    breaker, admitted = admit(breaker, 10.0 + OPEN_SECONDS / 2)
    assert not admitted
    breaker, first = admit(breaker, 10.0 + OPEN_SECONDS)
    breaker, second = admit(breaker, 10.0 + OPEN_SECONDS)
    assert (first, second) == (True, False)


def test_the_probe_decides() -> None:
    breaker, _ = admit(_stalled(STALLS, at=0.0), OPEN_SECONDS)
    assert ended(breaker, 2.0, well=True).closed
    again = ended(breaker, 2.0, well=False)
    assert again.opened == 2.0
    assert not again.probing


def test_late_ends_of_reads_from_before_do_not_prolong_the_pause() -> None:
    breaker = _stalled(STALLS, at=0.0)
    assert ended(breaker, 0.9, well=False) == breaker
    assert ended(breaker, 0.9, well=True) == breaker


@given(events)
def test_at_most_one_probe_is_out_and_an_open_breaker_always_lets_one_through_in_the_end(
    moves: list[tuple[str, float]],
) -> None:
    breaker, now, out = Breaker(), 0.0, 0
    for what, pause in moves:
        now += pause
        if what == "read":
            was_open = not breaker.closed
            breaker, admitted = admit(breaker, now)
            out += admitted
            assert not (was_open and admitted) or breaker.probing
        elif out:
            out -= 1
            breaker = ended(breaker, now, well=what == "well")
        assert breaker.closed or breaker.stalls >= 1
    if not breaker.probing:
        _, admitted = admit(breaker, now + OPEN_SECONDS)
        assert admitted
