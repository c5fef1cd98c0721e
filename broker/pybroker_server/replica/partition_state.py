"""The replication state of one partition on one broker: who leads, who is in sync, what is committed.

Rules of this file: pure decisions. Every method takes an event and, where time matters, `now_ms`; it changes
this object and returns what the caller must do. No log, no clock, no I/O. The R-numbers are the project's
replication invariants; `check_invariants` asserts those that one broker can see, and a violation stops the
partition.

The high watermark (KIP-966, design D7) is the smallest *durable* end offset over the replicas that count: the
maximal ISR (committed, plus a replica being added: R5), plus replicas outside of it that are caught up and
may soon join. Durable means flushed with `durability=fsync`, appended with `durability=page-cache`. It never
goes back within one leadership (R7) and does not move while the committed ISR is smaller than the effective
min.insync.replicas (R9).

A broker that is its own whole ISR goes through this same code; followers only add entries to `followers`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from pybroker_protocol.errors import ErrorCode
from pybroker_server.metadata.image import PartitionImage

UNKNOWN_OFFSET = -1
NO_EPOCH = -1
DEFAULT_REPLICA_LAG_MS = 30_000
_NEVER_MS = -(1 << 62)


class InvariantError(AssertionError):
    """A replication invariant does not hold. The partition must stop serving: going on could lose data."""


class Transition(Enum):
    """What a registration meant for this broker."""

    STALE = "stale"
    """Older than what is known: ignored."""
    UNCHANGED = "unchanged"
    """Same leader epoch; the ISR or the replicas may have changed."""
    LEADS = "leads"
    """This broker leads a new leader epoch: record the epoch's start in the log before serving."""
    FOLLOWS = "follows"
    """Another broker leads a new leader epoch (or none does): stop serving, restart fetching."""


@dataclass(slots=True)
class FollowerProgress:
    """What the leader knows of one follower; written by `on_follower_fetch` only, reset by a new
    leadership.
    """

    log_end_offset: int = UNKNOWN_OFFSET
    flushed_end_offset: int = UNKNOWN_OFFSET
    log_start_offset: int = UNKNOWN_OFFSET
    broker_epoch: int = NO_EPOCH
    last_caught_up_ms: int = _NEVER_MS
    last_fetch_ms: int = _NEVER_MS
    leader_end_offset_at_last_fetch: int = UNKNOWN_OFFSET


@dataclass(frozen=True, slots=True)
class IsrChange:
    """A proposal for the metadata store; compare-and-set on the partition epoch (and broker epochs,
    KIP-903).
    """

    isr: tuple[int, ...]
    leader_epoch: int
    partition_epoch: int
    """The committed one this change starts from."""
    broker_epochs: tuple[tuple[int, int], ...]
    """(replica id, broker epoch of its last fetch) of every follower that stays or joins."""
    is_expansion: bool


class PartitionState:
    """Leader's (or follower's) view of one partition. Not thread-safe: lives on the event loop."""

    __slots__ = (
        "_durable",
        "_flushed_end_offset",
        "_log_end_offset",
        "_maximal_isr",
        "_min_insync_replicas",
        "eligible_brokers",
        "followers",
        "high_watermark",
        "is_below_min_isr",
        "isr",
        "leader",
        "leader_epoch",
        "leader_epoch_start_offset",
        "local_id",
        "partition_epoch",
        "pending_change",
        "replica_lag_ms",
        "replicas",
    )

    def __init__(
        self,
        local_id: int,
        *,
        high_watermark: int,
        durable: bool = True,
        min_insync_replicas: int = 1,
        replica_lag_ms: int = DEFAULT_REPLICA_LAG_MS,
    ) -> None:
        self.local_id = local_id
        self.leader = -1
        self.leader_epoch = NO_EPOCH
        self.partition_epoch = NO_EPOCH
        self.replicas: tuple[int, ...] = ()
        self.isr: tuple[int, ...] = ()
        """As committed in the metadata store."""
        self.pending_change: IsrChange | None = None
        """In flight to the store; at most one."""
        self.followers: dict[int, FollowerProgress] = {}
        """Every assigned replica but this broker; only kept while leading."""
        self.eligible_brokers: Mapping[int, int] = {}
        """Broker id -> broker epoch of brokers that are neither fenced nor shutting down."""
        self.high_watermark = high_watermark
        """Until a leadership is known, the checkpointed one: a lower bound, perhaps stale."""
        self.leader_epoch_start_offset = UNKNOWN_OFFSET
        """The log end when this broker became leader of `leader_epoch`."""
        self.replica_lag_ms = replica_lag_ms
        self.is_below_min_isr = False
        """acks=all appends are refused (NOT_ENOUGH_REPLICAS) and the high watermark stands still. Kept, not computed:
        every append asks."""
        self._durable = durable
        self._min_insync_replicas = min_insync_replicas
        self._maximal_isr: frozenset[int] = frozenset()
        self._log_end_offset = high_watermark
        self._flushed_end_offset = UNKNOWN_OFFSET

    # Views

    @property
    def is_leader(self) -> bool:
        return self.leader == self.local_id

    @property
    def maximal_isr(self) -> frozenset[int]:
        """Committed ISR plus what a pending expansion adds (R5); a pending shrink does not count yet."""
        return self._maximal_isr

    @property
    def effective_min_isr(self) -> int:
        """min.insync.replicas, but never more than there are replicas."""
        return min(self._min_insync_replicas, len(self.replicas))

    @property
    def durable_end_offset(self) -> int:
        """This replica's own contribution to the high watermark."""
        return self._flushed_end_offset if self._durable else self._log_end_offset

    @property
    def has_caught_up_with_epoch(self) -> bool:
        """False just after an election while the high watermark is below the epoch's start: what is served
        from it could go backwards (R7), so "latest" must not be answered yet (KIP-207).
        """
        return self.high_watermark >= self.leader_epoch_start_offset

    def check_leader_epoch(self, epoch: int) -> ErrorCode:
        """The client's `current_leader_epoch` against ours (KIP-320); -1 skips the check."""
        if epoch < 0 or epoch == self.leader_epoch:
            return ErrorCode.NONE
        return ErrorCode.FENCED_LEADER_EPOCH if epoch < self.leader_epoch else ErrorCode.UNKNOWN_LEADER_EPOCH

    def produce_outcome(self) -> ErrorCode:
        """For an acks=all append whose offset the high watermark has reached: success, or code 20."""
        if len(self._maximal_isr) < self.effective_min_isr:
            return ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND
        return ErrorCode.NONE

    # Events: metadata

    def on_registration(
        self, registration: PartitionImage, *, log_end_offset: int, flushed_end_offset: int, now_ms: int
    ) -> Transition:
        """Applies what the metadata store says. An equal partition epoch is applied again and leaves an ISR change that
        is in flight as it is; lower ones are not applied.
        """
        if registration.partition_epoch < self.partition_epoch or registration.leader_epoch < self.leader_epoch:
            return Transition.STALE
        is_new_epoch = registration.leader_epoch > self.leader_epoch
        is_news = is_new_epoch or registration.partition_epoch > self.partition_epoch
        was_leader = self.is_leader
        if not is_new_epoch and registration.leader != self.leader:
            raise InvariantError(
                f"R1: leader epoch {self.leader_epoch} has two leaders, {self.leader} and {registration.leader}"
            )
        self.leader = registration.leader
        self.leader_epoch = registration.leader_epoch
        self.partition_epoch = registration.partition_epoch
        self.replicas = registration.replicas
        self.isr = registration.isr
        self.is_below_min_isr = len(self.isr) < self.effective_min_isr
        if is_news:
            self.pending_change = None
            self._maximal_isr = frozenset(registration.isr)
        self._log_end_offset = log_end_offset
        self._flushed_end_offset = flushed_end_offset
        if self.is_leader:
            self._track_followers(reset=is_new_epoch or not was_leader, now_ms=now_ms)
            if is_new_epoch:
                self.leader_epoch_start_offset = log_end_offset
        else:
            self.followers.clear()
            self.leader_epoch_start_offset = UNKNOWN_OFFSET
        if is_new_epoch:
            return Transition.LEADS if self.is_leader else Transition.FOLLOWS
        return Transition.UNCHANGED

    def _track_followers(self, *, reset: bool, now_ms: int) -> None:
        """Times that belong to an earlier leadership must not shrink this one's ISR (KAFKA
        resetReplicaState).
        """
        known = {} if reset else self.followers
        fresh: dict[int, FollowerProgress] = {}
        for replica in self.replicas:
            if replica == self.local_id:
                continue
            progress = known.get(replica)
            if progress is None:
                progress = FollowerProgress(last_caught_up_ms=now_ms if replica in self.isr else _NEVER_MS)
            fresh[replica] = progress
        self.followers = fresh

    def reconfigure(self, *, durable: bool, min_insync_replicas: int) -> None:
        """Topic configuration changed; call `advance` afterwards."""
        self._durable = durable
        self._min_insync_replicas = min_insync_replicas
        self.is_below_min_isr = len(self.isr) < self.effective_min_isr

    # Events: progress

    def on_local_append(self, log_end_offset: int, now_ms: int) -> bool:
        """The leader appended; True when the high watermark moved (page-cache mode with nobody to wait
        for).
        """
        self._log_end_offset = log_end_offset
        if self._durable:
            return False
        return self.advance(now_ms)

    def on_local_flush(self, flushed_end_offset: int, now_ms: int) -> bool:
        """The leader's log is on the device up to here; True when the high watermark moved."""
        if flushed_end_offset > self._flushed_end_offset:
            self._flushed_end_offset = flushed_end_offset
        return self._durable and self.advance(now_ms)

    def on_local_truncation(self, log_end_offset: int, flushed_end_offset: int, log_start_offset: int = 0) -> None:
        """A follower cut its log (diverging epoch), or began it anew at `log_start_offset`. Its local high watermark
        may fall; a leader never truncates.
        """
        if self.is_leader:
            raise InvariantError(f"R6: leader of epoch {self.leader_epoch} truncated its own log")
        self._log_end_offset = log_end_offset
        self._flushed_end_offset = min(flushed_end_offset, log_end_offset)
        self.high_watermark = max(min(self.high_watermark, log_end_offset), log_start_offset)

    def on_leader_high_watermark(self, leader_high_watermark: int, log_end_offset: int) -> bool:
        """A follower learned the leader's high watermark; it takes over what it holds itself."""
        self._log_end_offset = log_end_offset
        reached = min(leader_high_watermark, log_end_offset)
        if reached <= self.high_watermark:
            return False
        self.high_watermark = reached
        return True

    def on_follower_fetch(
        self,
        replica: int,
        *,
        broker_epoch: int,
        fetch_offset: int,
        flushed_end_offset: int,
        now_ms: int,
        log_start_offset: int = UNKNOWN_OFFSET,
    ) -> tuple[bool, IsrChange | None]:
        """A follower asked for records from `fetch_offset`, which is its log end.

        Returns whether the high watermark moved, and the ISR change to propose, if any. The caller checked
        the leader epoch and that the fetch does not diverge. Raises KeyError for a replica that is not
        assigned.
        """
        progress = self.followers[replica]
        if fetch_offset >= self._log_end_offset:
            progress.last_caught_up_ms = max(progress.last_caught_up_ms, now_ms)
        elif UNKNOWN_OFFSET != progress.leader_end_offset_at_last_fetch <= fetch_offset:
            # One fetch behind a busy leader is not lagging: it had all there was at its previous fetch.
            progress.last_caught_up_ms = max(progress.last_caught_up_ms, progress.last_fetch_ms)
        progress.log_end_offset = fetch_offset
        progress.flushed_end_offset = min(flushed_end_offset, fetch_offset)
        progress.log_start_offset = log_start_offset
        progress.broker_epoch = broker_epoch
        progress.last_fetch_ms = now_ms
        progress.leader_end_offset_at_last_fetch = self._log_end_offset
        moved = self.advance(now_ms)
        return moved, self._expansion(replica, progress) or self._exclusion(replica, progress)

    def on_idle_fetch(self, replica: int, *, broker_epoch: int, fetch_offset: int, now_ms: int) -> bool:
        """A member of the ISR asked once more for what follows the end of the log, where it has been before. False when
        that is not so: it is `on_follower_fetch` then. (Most partitions are idle, and every fetch names them all.)
        """
        progress = self.followers.get(replica)
        if (
            progress is None
            or progress.log_end_offset != fetch_offset
            or self._log_end_offset != fetch_offset
            or progress.broker_epoch != broker_epoch
            or replica not in self.isr
        ):
            return False
        progress.last_fetch_ms = progress.last_caught_up_ms = now_ms
        return True

    def low_watermark(self, log_start_offset: int) -> int:
        """The lowest log start of this leader (`log_start_offset`) and of the followers that live; UNKNOWN_OFFSET while
        one of them has not said."""
        lowest = log_start_offset
        for replica, progress in self.followers.items():
            if progress.log_start_offset < lowest and replica in self.eligible_brokers:
                lowest = progress.log_start_offset
        return lowest

    def advance(self, now_ms: int) -> bool:
        """Moves the high watermark as far as the rule of this file allows; True when it moved."""
        if self.leader != self.local_id or self.is_below_min_isr:
            return False
        reached = self._flushed_end_offset if self._durable else self._log_end_offset
        for replica, progress in self.followers.items():
            if replica in self._maximal_isr or self._may_soon_join(replica, progress, now_ms):
                end = progress.flushed_end_offset if self._durable else progress.log_end_offset
                reached = min(reached, end)
        if reached <= self.high_watermark:
            return False
        if reached > self._log_end_offset:
            raise InvariantError(f"R7: high watermark {reached} is past the log end {self._log_end_offset}")
        self.high_watermark = reached
        return True

    def _may_soon_join(self, replica: int, progress: FollowerProgress, now_ms: int) -> bool:
        """A caught-up replica outside the ISR holds the high watermark back, else it could never pass the
        race.
        """
        if self.eligible_brokers.get(replica, NO_EPOCH) != progress.broker_epoch or progress.broker_epoch == NO_EPOCH:
            return False
        is_level = progress.log_end_offset == self._log_end_offset
        return is_level or now_ms - progress.last_caught_up_ms <= self.replica_lag_ms

    # ISR changes

    def _expansion(self, replica: int, progress: FollowerProgress) -> IsrChange | None:
        """R9, KIP-841, KIP-903, KAFKA-7128: who may join."""
        if self.pending_change is not None or replica in self.isr:
            return None
        held = progress.flushed_end_offset if self._durable else progress.log_end_offset
        if held < self.high_watermark or held < self.leader_epoch_start_offset:
            return None
        if progress.broker_epoch == NO_EPOCH or self.eligible_brokers.get(replica) != progress.broker_epoch:
            return None
        return self._change((*self.isr, replica), is_expansion=True)

    def _exclusion(self, replica: int, progress: FollowerProgress) -> IsrChange | None:
        """R4: a member that holds less than what is committed has lost it (a disk that was emptied, a page cache that
        a power cut took) and must not be elected, however quickly it catches up."""
        if self.pending_change is not None or replica not in self.isr:
            return None
        if progress.log_end_offset >= self.high_watermark:
            return None
        return self._change(tuple(r for r in self.isr if r != replica), is_expansion=False)

    def propose_shrink(self, now_ms: int) -> IsrChange | None:
        """Members that are behind and have not been caught up for `replica_lag_ms`; for a periodic check."""
        if not self.is_leader or self.pending_change is not None:
            return None
        lagging = {
            replica
            for replica, progress in self.followers.items()
            if replica in self.isr
            and progress.log_end_offset != self._log_end_offset
            and now_ms - progress.last_caught_up_ms > self.replica_lag_ms
        }
        if not lagging:
            return None
        return self._change((r for r in self.isr if r not in lagging), is_expansion=False)

    def _change(self, members: Iterable[int], *, is_expansion: bool) -> IsrChange:
        isr = tuple(members)
        epochs = tuple((r, self.followers[r].broker_epoch) for r in isr if r in self.followers)
        return IsrChange(isr, self.leader_epoch, self.partition_epoch, epochs, is_expansion)

    def begin_isr_change(self, change: IsrChange) -> None:
        """The proposal was sent. From now on a joining replica counts, a leaving one still does (R5)."""
        if self.pending_change is not None:
            raise InvariantError("R5: two ISR changes are in flight")
        self.pending_change = change
        self._maximal_isr = frozenset(self.isr) | frozenset(change.isr)

    def on_isr_change_refused(self, change: IsrChange) -> None:
        """Only for answers that prove the change was not applied: back to the committed ISR. Then
        `advance`.
        """
        if self.pending_change == change:
            self.pending_change = None
            self._maximal_isr = frozenset(self.isr)

    # Invariants

    def check_invariants(self) -> None:
        """What one broker can see of R5, R7, R9 and R11; raises InvariantError. Cheap, but not for every
        record.
        """
        if not self._maximal_isr >= frozenset(self.isr):
            raise InvariantError(f"R5: maximal ISR {sorted(self._maximal_isr)} lacks members of {self.isr}")
        if self.high_watermark > self._log_end_offset:
            raise InvariantError(f"R7: high watermark {self.high_watermark} > log end {self._log_end_offset}")
        if self._flushed_end_offset > self._log_end_offset:
            raise InvariantError(f"R11: flushed to {self._flushed_end_offset}, log ends at {self._log_end_offset}")
        if not self.is_leader:
            if self.followers or self.pending_change is not None:
                raise InvariantError("R1: a broker that does not lead keeps leader's state")
            return
        if self.local_id not in self.isr:
            raise InvariantError(f"R4: leader {self.local_id} is not in its own ISR {self.isr}")
        if set(self.followers) != set(self.replicas) - {self.local_id}:
            raise InvariantError("R9: the followers kept are not the replicas assigned")
        if self.pending_change is not None and self.pending_change.leader_epoch != self.leader_epoch:
            raise InvariantError("R9: an ISR change of another leader epoch is in flight")
