"""Connection limits and the memory of half-received requests: who may, who waits, and that everything is
given back."""

from __future__ import annotations

from pybroker_server.network.limits import ConnectionLimits
from pybroker_server.network.request_memory import RequestMemory


def test_total_and_per_address_limits() -> None:
    limits = ConnectionLimits(3, 2, 100, {"10.0.0.9": 1})
    assert limits.refusal_for("10.0.0.1") is None
    limits.opened("10.0.0.1")
    limits.opened("10.0.0.1")
    assert "max.connections.per.ip=2" in (limits.refusal_for("10.0.0.1") or "")
    assert limits.refusal_for("10.0.0.9") is None
    limits.opened("10.0.0.9")
    assert "max.connections=3" in (limits.refusal_for("10.0.0.2") or "")
    limits.closed("10.0.0.1")
    assert "max.connections.per.ip=1" in (limits.refusal_for("10.0.0.9") or "")
    limits.closed("10.0.0.1")
    limits.closed("10.0.0.9")
    assert limits.total == 0
    assert limits.refusal_for("10.0.0.9") is None


def test_creation_rate_allows_a_burst_of_one_second_then_spaces_out() -> None:
    limits = ConnectionLimits(10_000, 10_000, 10)
    for _ in range(10):
        assert limits.wait_ms(1_000) == 0
        limits.accepted()
    assert limits.wait_ms(1_000) == 100
    assert limits.wait_ms(1_060) == 40
    assert limits.wait_ms(1_101) == 0
    limits.accepted()
    assert limits.wait_ms(1_101) > 0
    taken = 0
    while limits.wait_ms(60_000) == 0:
        limits.accepted()
        taken += 1
    assert taken == 10


class Owner:
    def __init__(self) -> None:
        self.resumed = 0

    def memory_available(self) -> None:
        self.resumed += 1


def test_memory_over_budget_lets_one_owner_go_on_and_the_others_in_turn() -> None:
    memory = RequestMemory(100)
    first, second, third = Owner(), Owner(), Owner()
    assert memory.received(first, 90)
    assert memory.received(second, 20)  # over: the favoured
    assert not memory.received(third, 20)
    assert memory.received(second, 500)
    memory.released(second, 520)
    assert (memory.held_bytes, third.resumed) == (110, 1)  # still over: third is the favoured now
    assert not memory.received(first, 10)
    memory.released(third, 20)
    assert first.resumed == 1
    memory.released(first, 100)
    assert (memory.held_bytes, memory.waiting) == (0, 0)


def test_an_owner_that_goes_away_while_waiting_is_forgotten() -> None:
    memory = RequestMemory(10)
    first, second = Owner(), Owner()
    memory.received(first, 11)
    assert not memory.received(second, 5)
    memory.released(second, 5)
    memory.released(first, 11)
    assert second.resumed == 0
    assert memory.held_bytes == 0
