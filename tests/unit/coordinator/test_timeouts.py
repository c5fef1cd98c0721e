"""Deadlines: in order, once, and cheap to move."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pybroker_server.coordinator.effects import Effects
from pybroker_server.coordinator.timeouts import Timeouts


def names(timeouts: Timeouts, now_ms: int) -> list[str]:
    return [operation.key for operation in timeouts.expire(now_ms) if isinstance(operation, Op)]


class Op:
    def __init__(self, key: str) -> None:
        self.key = key

    def __call__(self, effects: Effects) -> None:
        """Nothing: only whether it is called matters here."""


def test_they_come_in_order_and_once() -> None:
    timeouts = Timeouts()
    for key, deadline in (("b", 20), ("a", 10), ("c", 30)):
        timeouts.set(key, deadline, Op(key))
    assert timeouts.next_deadline_ms == 10
    assert names(timeouts, 25) == ["a", "b"]
    assert (names(timeouts, 25), timeouts.next_deadline_ms, len(timeouts)) == ([], 30, 1)


def test_one_that_is_moved_comes_at_its_new_time() -> None:
    timeouts = Timeouts()
    timeouts.set("a", 10, Op("a"))
    timeouts.set("a", 40, Op("later"))
    timeouts.set("b", 20, Op("b"))
    assert names(timeouts, 39) == ["b"]
    timeouts.set("a", 15, Op("sooner"))
    assert (timeouts.next_deadline_ms, timeouts.deadline_ms("a")) == (15, 15)
    assert names(timeouts, 100) == ["sooner"]


def test_one_that_is_cancelled_never_comes() -> None:
    timeouts = Timeouts()
    timeouts.set("a", 10, Op("a"))
    timeouts.cancel("a")
    timeouts.cancel("never there")
    assert ("a" in timeouts, timeouts.next_deadline_ms, names(timeouts, 100)) == (False, None, [])


_STEPS = st.lists(st.tuples(st.sampled_from("abcd"), st.one_of(st.none(), st.integers(0, 50))), min_size=1, max_size=60)


@given(_STEPS)
def test_they_agree_with_a_plain_dictionary(steps: list[tuple[str, int | None]]) -> None:
    timeouts, model = Timeouts(), dict[str, int]()
    for now, (key, deadline) in enumerate(steps):
        if deadline is None:
            timeouts.cancel(key)
            model.pop(key, None)
        else:
            timeouts.set(key, now + deadline, Op(key))
            model[key] = now + deadline
        due = sorted((at, k) for k, at in model.items() if at <= now)
        assert sorted(names(timeouts, now)) == sorted(k for _, k in due)
        for _, k in due:
            del model[k]
        assert timeouts.next_deadline_ms == min(model.values(), default=None)
