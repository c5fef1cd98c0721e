"""Deadlines of coordinator state: one per key, moved cheaply, run once and in order."""

from __future__ import annotations

import random

import pytest

from pybroker_server.coordinator.effects import Effects
from pybroker_server.coordinator.timeouts import Timeouts


@pytest.fixture
def timeouts() -> Timeouts:
    return Timeouts()


class Log:
    """The names of operations that ran."""

    def __init__(self) -> None:
        self.ran: list[str] = []


def expire(timeouts: Timeouts, now_ms: int) -> None:
    for operation in timeouts.expire(now_ms):
        operation(Effects(now_ms, now_ms))


def keep(timeouts: Timeouts, log: Log, key: str, deadline_ms: int) -> None:
    timeouts.set(key, deadline_ms, lambda effects: log.ran.append(key))


class TestOneDeadline:
    def test_it_runs_when_its_time_has_come_and_once(self, timeouts: Timeouts) -> None:
        log = Log()
        keep(timeouts, log, "a", 10)
        assert timeouts.next_deadline_ms == 10
        expire(timeouts, 9)
        assert log.ran == []
        expire(timeouts, 10)
        expire(timeouts, 100)
        assert log.ran == ["a"]
        assert (len(timeouts), timeouts.next_deadline_ms, "a" in timeouts) == (0, None, False)

    @pytest.mark.parametrize(("first", "second"), [(10, 30), (30, 10), (10, 10)])
    def test_setting_it_anew_replaces_it(self, timeouts: Timeouts, first: int, second: int) -> None:
        log = Log()
        timeouts.set("a", first, lambda effects: log.ran.append("old"))
        keep(timeouts, log, "a", second)
        assert (timeouts.next_deadline_ms, timeouts.deadline_ms("a")) == (second, second)
        expire(timeouts, second - 1)
        assert log.ran == []
        expire(timeouts, 1000)
        assert log.ran == ["a"]

    def test_one_that_is_cancelled_never_runs(self, timeouts: Timeouts) -> None:
        log = Log()
        keep(timeouts, log, "a", 10)
        timeouts.cancel("a")
        timeouts.cancel("a")
        assert timeouts.deadline_ms("a") is None
        assert timeouts.next_deadline_ms is None
        keep(timeouts, log, "a", 40)
        expire(timeouts, 39)
        assert log.ran == []
        expire(timeouts, 40)
        assert log.ran == ["a"]

    def test_clearing_forgets_everything(self, timeouts: Timeouts) -> None:
        log = Log()
        keep(timeouts, log, "a", 10)
        timeouts.clear()
        expire(timeouts, 100)
        assert (log.ran, timeouts.next_deadline_ms) == ([], None)


class TestManyDeadlines:
    def test_they_run_in_their_order_in_time(self, timeouts: Timeouts) -> None:
        log = Log()
        for key, deadline_ms in (("c", 30), ("a", 10), ("d", 31), ("b", 20)):
            keep(timeouts, log, key, deadline_ms)
        expire(timeouts, 30)
        assert log.ran == ["a", "b", "c"]

    def test_one_that_another_cancels_at_the_same_time_does_not_run(self, timeouts: Timeouts) -> None:
        """A rebalance that ends puts an end to the sessions of those who stayed away."""
        log = Log()
        timeouts.set("a", 10, lambda effects: timeouts.cancel("b"))
        keep(timeouts, log, "b", 11)
        expire(timeouts, 20)
        assert log.ran == []

    def test_one_that_another_postpones_does_not_run(self, timeouts: Timeouts) -> None:
        log = Log()
        timeouts.set("a", 10, lambda effects: keep(timeouts, log, "b", 50))
        keep(timeouts, log, "b", 11)
        expire(timeouts, 20)
        assert log.ran == []
        expire(timeouts, 50)
        assert log.ran == ["b"]

    def test_one_that_sets_itself_anew_waits_for_the_next_call_even_if_it_is_late(self, timeouts: Timeouts) -> None:
        ran: list[int] = []

        def again(effects: Effects) -> None:
            ran.append(effects.now_ms)
            timeouts.set("a", 0, again)

        timeouts.set("a", 5, again)
        expire(timeouts, 10)
        assert ran == [10]
        expire(timeouts, 11)
        assert ran == [10, 11]

    def test_whatever_is_done_it_agrees_with_a_plain_table(self, timeouts: Timeouts) -> None:
        chance = random.Random(4)
        model: dict[int, int] = {}
        now_ms = 0
        ran: list[int] = []
        for _ in range(5_000):
            key = chance.randrange(20)
            match chance.randrange(4):
                case 0 | 1:
                    deadline_ms = now_ms + chance.randrange(1, 50)
                    model[key] = deadline_ms
                    timeouts.set(key, deadline_ms, lambda effects, key=key: ran.append(key))  # type: ignore[misc]
                case 2:
                    model.pop(key, None)
                    timeouts.cancel(key)
                case _:
                    now_ms += chance.randrange(10)
                    due = {each: at for each, at in model.items() if at <= now_ms}
                    model = {each: at for each, at in model.items() if at > now_ms}
                    ran.clear()
                    expire(timeouts, now_ms)
                    assert set(ran) == set(due)
                    assert len(ran) == len(due)
                    assert [due[each] for each in ran] == sorted(due.values())
            assert timeouts.next_deadline_ms == min(model.values(), default=None)
            assert len(timeouts) == len(model)
