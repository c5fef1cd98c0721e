"""Any sequence of appends, lost messages, crashes and elections loses nothing acknowledged, and all logs agree.

Three replicas of one partition, each a product's own `PartitionState` over a log in memory that a crash cuts back to
what was flushed. The metadata store is the test; so is the controller, which elects from the ISR alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pybroker_server.log.leader_epochs import LeaderEpochs
from pybroker_server.metadata.image import NO_LEADER, PartitionImage
from pybroker_server.replica.partition_state import IsrChange, PartitionState, Transition
from pybroker_server.replica.truncation import cut_offset

NODES = (1, 2, 3)
LAG_MS = 1_000
Record = tuple[int, int]
"""(leader epoch, a number that no other record has)"""


@dataclass
class Log:
    """`records[:flushed]` survives a crash."""

    records: list[Record] = field(default_factory=list)
    flushed: int = 0
    epochs: LeaderEpochs = field(default_factory=LeaderEpochs)

    @property
    def log_end_offset(self) -> int:
        return len(self.records)

    def end_offset_for_epoch(self, epoch: int) -> tuple[int, int]:
        return self.epochs.end_offset_for(epoch, self.log_end_offset)

    def append(self, record: Record) -> None:
        assert not self.records or self.records[-1][0] <= record[0], "R2: epochs go back along a log"
        if record[0] > self.epochs.latest:
            self.epochs.assign(record[0], len(self.records))
        self.records.append(record)

    def cut(self, offset: int) -> None:
        del self.records[offset:]
        self.flushed = min(self.flushed, len(self.records))
        self.epochs.truncate_from_end(offset)

    def crash(self) -> None:
        self.cut(self.flushed)


@dataclass
class Node:
    node_id: int
    log: Log
    state: PartitionState
    epoch: int
    is_alive: bool = True
    seen: int = -1
    """Partition epoch of the newest metadata it has been shown."""


class ThreeReplicas(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now_ms = 10_000
        self.number = 0
        self.image = PartitionImage(0, NODES, NODES, 1, 0, 0)
        self.epochs = {node: node for node in NODES}
        self.nodes: dict[int, Node] = {}
        self.acknowledged: list[Record] = []
        """What was below a high watermark that a leader moved: the true one."""
        self.proposed: list[tuple[int, IsrChange]] = []

    @initialize(min_isr=st.integers(1, 3))
    def begin(self, min_isr: int) -> None:
        self.min_isr = min_isr
        for node in NODES:
            self.nodes[node] = Node(node, Log(), self.new_state(node, 0), node)
            self.show(self.nodes[node])

    def new_state(self, node: int, high_watermark: int) -> PartitionState:
        state = PartitionState(
            node, high_watermark=high_watermark, min_insync_replicas=self.min_isr, replica_lag_ms=LAG_MS
        )
        state.eligible_brokers = self.epochs
        return state

    # -- metadata

    def show(self, node: Node) -> None:
        log, state = node.log, node.state
        transition = state.on_registration(
            self.image, log_end_offset=log.log_end_offset, flushed_end_offset=log.flushed, now_ms=self.now_ms
        )
        node.seen = self.image.partition_epoch
        if transition is Transition.LEADS:
            assert log.records[: len(self.acknowledged)] == self.acknowledged, (
                "R3: a leader lacks something acknowledged"
            )
            if self.image.leader_epoch > log.epochs.latest:
                log.epochs.assign(self.image.leader_epoch, log.log_end_offset)
        self.advanced(node, moved=state.advance(self.now_ms))

    def store(self, **changes: object) -> None:
        values = {name: getattr(self.image, name) for name in ("replicas", "isr", "leader", "leader_epoch")}
        values |= changes
        self.image = PartitionImage(0, partition_epoch=self.image.partition_epoch + 1, **values)  # type: ignore[arg-type]

    def advanced(self, node: Node, *, moved: bool) -> None:
        node.state.check_invariants()
        if not moved:
            return
        reached = node.log.records[: node.state.high_watermark]
        shorter = min(len(reached), len(self.acknowledged))
        assert reached[:shorter] == self.acknowledged[:shorter], "R10: what was served has changed"
        if len(reached) > len(self.acknowledged):
            assert self.is_leader_now(node) or node.seen < self.image.partition_epoch
            for member in self.image.isr:
                durable = self.nodes[member].log
                assert durable.records[: durable.flushed][: len(reached)] == reached, f"R11: not durable on {member}"
            self.acknowledged = list(reached)

    def is_leader_now(self, node: Node) -> bool:
        return node.node_id == self.image.leader and node.seen == self.image.partition_epoch

    # -- what can happen

    def alive(self, index: int) -> Node | None:
        found = [node for node in self.nodes.values() if node.is_alive]
        return found[index % len(found)] if found else None

    @rule(index=st.integers(0, 2))
    def learns_the_metadata(self, index: int) -> None:
        node = self.alive(index)
        if node is not None and node.seen < self.image.partition_epoch:
            self.show(node)

    @rule(index=st.integers(0, 2), count=st.integers(1, 3))
    def is_appended_to(self, index: int, count: int) -> None:
        """Whoever believes to lead appends: it may be deposed and not know."""
        node = self.alive(index)
        if node is None or not node.state.is_leader or node.state.is_below_min_isr:
            return
        for _ in range(count):
            self.number += 1
            node.log.append((node.state.leader_epoch, self.number))
        self.advanced(node, moved=node.state.on_local_append(node.log.log_end_offset, self.now_ms))

    @rule(index=st.integers(0, 2))
    def flushes(self, index: int) -> None:
        node = self.alive(index)
        if node is None:
            return
        node.log.flushed = node.log.log_end_offset
        if node.state.is_leader:
            self.advanced(node, moved=node.state.on_local_flush(node.log.flushed, self.now_ms))

    @rule(
        index=st.integers(0, 2),
        count=st.integers(0, 3),
        is_answer_lost=st.booleans(),
        is_flushed=st.booleans(),
        rounds=st.integers(1, 3),
    )
    def fetches(self, index: int, count: int, is_answer_lost: bool, is_flushed: bool, rounds: int) -> None:
        node = self.alive(index)
        for _ in range(rounds):
            if node is None or node.state.is_leader or node.state.leader == NO_LEADER:
                return
            leader = self.nodes[node.state.leader]
            if node.log.flushed < node.log.log_end_offset:
                return  # it asks for more when what it has is durable
            if not leader.is_alive or not leader.state.is_leader:
                return
            if leader.state.leader_epoch != node.state.leader_epoch:
                return
            self.fetch(node, leader, count, is_answer_lost=is_answer_lost, is_flushed=is_flushed)

    def fetch(self, node: Node, leader: Node, count: int, *, is_answer_lost: bool, is_flushed: bool) -> None:
        own, theirs = node.log, leader.log
        offset, epoch = own.log_end_offset, own.epochs.latest
        diverging = None
        if epoch >= 0:
            leaders_epoch, leaders_end = theirs.end_offset_for_epoch(epoch)
            if leaders_epoch < 0:
                return self.is_out_of_range(node, leader)
            if leaders_epoch < epoch or leaders_end < offset:
                diverging = (leaders_epoch, leaders_end)
        if diverging is None and offset > theirs.log_end_offset:
            return self.is_out_of_range(node, leader)
        if diverging is None:
            moved, change = leader.state.on_follower_fetch(
                node.node_id,
                broker_epoch=node.epoch,
                fetch_offset=offset,
                flushed_end_offset=offset,
                now_ms=self.now_ms,
            )
            self.advanced(leader, moved=moved)
            if change is not None:
                self.propose(leader, change)
        if is_answer_lost:
            return None
        if diverging is not None:
            cut = cut_offset(own, *diverging)
            own.cut(cut)
            node.state.on_local_truncation(own.log_end_offset, own.flushed)
            return None
        for record in theirs.records[offset : offset + count]:
            if record[0] <= node.state.leader_epoch:
                own.append(record)
        if is_flushed:
            own.flushed = own.log_end_offset
        moved = node.state.on_leader_high_watermark(leader.state.high_watermark, own.log_end_offset)
        self.advanced(node, moved=moved)
        return None

    def is_out_of_range(self, node: Node, leader: Node) -> None:
        if leader.log.log_end_offset < node.log.log_end_offset:
            node.log.cut(leader.log.log_end_offset)
            node.state.on_local_truncation(node.log.log_end_offset, node.log.flushed)

    # -- in-sync replicas

    def propose(self, leader: Node, change: IsrChange) -> None:
        leader.state.begin_isr_change(change)
        self.proposed.append((leader.node_id, change))

    @precondition(lambda self: self.proposed)
    @rule(index=st.integers(0, 2))
    def a_proposal_is_decided(self, index: int) -> None:
        """With the comparisons of `controller/isr_changes.py`."""
        node_id, change = self.proposed.pop(index % len(self.proposed))
        image, epochs = self.image, dict(change.broker_epochs)
        joins = [node for node in change.isr if node not in image.isr]
        holds = (
            (image.partition_epoch, image.leader_epoch) == (change.partition_epoch, change.leader_epoch)
            and image.leader == node_id
            and all(self.epochs.get(node) == epochs.get(node) for node in joins)
        )
        if holds:
            self.store(isr=change.isr)
        else:
            leader = self.nodes[node_id]
            if leader.is_alive and leader.seen == image.partition_epoch:
                leader.state.on_isr_change_refused(change)
                self.advanced(leader, moved=leader.state.advance(self.now_ms))

    @rule(ms=st.integers(1, 2 * LAG_MS))
    def time_passes(self, ms: int) -> None:
        self.now_ms += ms
        for node in self.nodes.values():
            change = node.state.propose_shrink(self.now_ms) if node.is_alive else None
            if change is not None:
                self.propose(node, change)

    # -- faults

    @rule(index=st.integers(0, 2))
    def crashes(self, index: int) -> None:
        node = self.alive(index)
        if node is not None:
            node.is_alive = False
            node.log.crash()
            # What it knew of offsets that its log has lost dies with it; a start believes no more than there is.
            node.state.high_watermark = min(node.state.high_watermark, node.log.log_end_offset)
            self.proposed = [entry for entry in self.proposed if entry[0] != node.node_id]
            del self.epochs[node.node_id]
            self.settle()

    @precondition(lambda self: any(not node.is_alive for node in self.nodes.values()))
    @rule(index=st.integers(0, 2), lost=st.integers(0, 5))
    def comes_back(self, index: int, lost: int) -> None:
        """Its high watermark was written down some time ago."""
        dead = [node for node in self.nodes.values() if not node.is_alive]
        node = dead[index % len(dead)]
        node.is_alive = True
        node.epoch += 10
        self.epochs[node.node_id] = node.epoch
        node.log.epochs.truncate_from_end(node.log.log_end_offset)
        checkpoint = max(node.state.high_watermark - lost, 0)
        node.state = self.new_state(node.node_id, checkpoint)
        self.settle(restarted=node.node_id)
        self.show(node)

    def settle(self, restarted: int = 0) -> None:
        """The controller's part: leaders come from the ISR; the last one in it stays there when it dies."""
        image = self.image
        isr = tuple(node for node in image.isr if node in self.epochs)
        if not isr:
            isr = image.isr
        leader = image.leader
        if leader not in self.epochs or leader not in isr:
            leader = next((node for node in image.replicas if node in isr and node in self.epochs), NO_LEADER)
        if (isr, leader) != (image.isr, image.leader) or restarted == image.leader:
            is_new = leader != image.leader or restarted == image.leader
            self.store(isr=isr, leader=leader, leader_epoch=image.leader_epoch + is_new)

    @rule()
    def the_leader_moves(self) -> None:
        others = [node for node in self.image.isr if node in self.epochs and node != self.image.leader]
        if others:
            self.store(leader=others[0], leader_epoch=self.image.leader_epoch + 1)

    # -- what must hold

    @invariant()
    def nothing_is_lost_and_logs_agree(self) -> None:
        if not self.nodes:
            return
        known = len(self.acknowledged)
        for member in self.image.isr:
            held = self.nodes[member].log
            assert held.records[: held.flushed][:known] == self.acknowledged, f"R4: {member} lacks something"
        for one in self.nodes.values():
            for other in self.nodes.values():
                below = min(one.state.high_watermark, other.state.high_watermark)
                assert one.log.records[:below] == other.log.records[:below], "R6: logs differ below both"


TestThreeReplicas = ThreeReplicas.TestCase
TestThreeReplicas.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)
