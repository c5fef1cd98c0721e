"""Any sequence of appends, flushes, fetches, ISR changes and elections keeps the replication invariants."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pybroker_server.metadata.image import PartitionImage
from pybroker_server.replica.partition_state import IsrChange, PartitionState

LEADER = 1
REPLICAS = (1, 2, 3)
LAG_MS = 1_000


class LeaderUnderLoad(RuleBasedStateMachine):
    """A model of the world: what each replica has on disk, and the ISR that the store holds."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ms = 10_000
        self.end = 0
        self.flushed = 0
        self.durable_of = dict.fromkeys(REPLICAS[1:], -1)
        self.epochs = {replica: replica * 10 for replica in REPLICAS}
        self.stored_isr = REPLICAS
        self.partition_epoch = 0
        self.leader_epoch = 0
        self.in_flight: IsrChange | None = None
        self.reached = 0

    @initialize(durable=st.booleans(), min_isr=st.integers(1, 3))
    def elect_first(self, durable: bool, min_isr: int) -> None:
        self.durable = durable
        self.min_isr = min_isr
        self.state = PartitionState(
            LEADER, high_watermark=0, durable=durable, min_insync_replicas=min_isr, replica_lag_ms=LAG_MS
        )
        self.state.eligible_brokers = self.epochs
        self.show()

    def show(self) -> None:
        image = PartitionImage(0, REPLICAS, self.stored_isr, LEADER, self.leader_epoch, self.partition_epoch)
        self.state.on_registration(image, log_end_offset=self.end, flushed_end_offset=self.flushed, now_ms=self.now_ms)
        self.state.advance(self.now_ms)

    @rule(count=st.integers(1, 50))
    def append(self, count: int) -> None:
        self.end += count
        self.state.on_local_append(self.end, self.now_ms)

    @rule()
    def flush(self) -> None:
        self.flushed = self.end
        self.state.on_local_flush(self.flushed, self.now_ms)

    @rule(replica=st.sampled_from(REPLICAS[1:]), behind=st.integers(0, 40), unflushed=st.integers(0, 20))
    def fetch(self, replica: int, behind: int, unflushed: int) -> None:
        offset = max(self.end - behind, 0)
        flushed = max(offset - unflushed, 0)
        # A replica never loses what it once had on its device.
        offset = max(offset, self.durable_of[replica])
        flushed = max(flushed, min(self.durable_of[replica], offset))
        self.durable_of[replica] = flushed if self.durable else offset
        _, change = self.state.on_follower_fetch(
            replica,
            broker_epoch=self.epochs[replica],
            fetch_offset=offset,
            flushed_end_offset=flushed,
            now_ms=self.now_ms,
        )
        if change is not None:
            assert self.durable_of[replica] >= self.state.high_watermark
            self.state.begin_isr_change(change)
            self.in_flight = change

    @rule(ms=st.integers(1, 2 * LAG_MS))
    def wait(self, ms: int) -> None:
        self.now_ms += ms
        change = self.state.propose_shrink(self.now_ms)
        if change is not None:
            self.state.begin_isr_change(change)
            self.in_flight = change

    @precondition(lambda self: self.in_flight is not None)
    @rule()
    def isr_change_is_stored(self) -> None:
        assert self.in_flight is not None
        self.stored_isr = self.in_flight.isr
        self.in_flight = None
        self.partition_epoch += 1
        self.show()

    @precondition(lambda self: self.in_flight is not None)
    @rule()
    def isr_change_is_refused(self) -> None:
        assert self.in_flight is not None
        self.state.on_isr_change_refused(self.in_flight)
        self.in_flight = None
        self.state.advance(self.now_ms)

    @rule()
    def is_elected_again(self) -> None:
        self.in_flight = None
        self.leader_epoch += 1
        self.partition_epoch += 1
        self.show()

    @invariant()
    def holds(self) -> None:
        if not hasattr(self, "state"):
            return
        state = self.state
        state.check_invariants()
        assert state.high_watermark >= self.reached, "R7: it went back"
        if state.high_watermark > self.reached:
            assert len(self.stored_isr) >= min(self.min_isr, len(REPLICAS)), "R9: it moved below the minimum ISR"
            own = self.flushed if self.durable else self.end
            assert state.high_watermark <= own, "R11: shown before it was durable here"
            for replica in self.stored_isr:
                if replica != LEADER:
                    assert state.high_watermark <= self.durable_of[replica], f"R11: not durable on {replica}"
        self.reached = state.high_watermark


TestLeaderUnderLoad = LeaderUnderLoad.TestCase
TestLeaderUnderLoad.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
