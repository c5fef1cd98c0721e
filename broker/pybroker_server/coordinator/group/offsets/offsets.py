"""What clients and time do to committed offsets: commit, fetch, delete, expire.

Rules of this file: pure. Whether a member may is the group's answer (`Group`), whether a topic exists the handler's. A
group that is not known and commits without membership becomes one that has offsets only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, cast

from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_protocol.messages import (
    LegacyOffsetCommitKey,
    LegacyOffsetCommitValue,
    OffsetCommitKey,
    OffsetCommitValue,
)
from pybroker_protocol.schema.classes import Message
from pybroker_server.coordinator.effects import Effects, Reply
from pybroker_server.coordinator.group.classic.group import ClassicGroup
from pybroker_server.coordinator.group.classic.groups import ClassicGroups
from pybroker_server.coordinator.group.context import GroupContext, Replay
from pybroker_server.coordinator.group.group import Group
from pybroker_server.coordinator.group.offsets.commit import Commit, Fetched, TransactionalCommit
from pybroker_server.coordinator.group.offsets.records import committed_from, offset_record, offset_tombstone
from pybroker_server.coordinator.group.offsets.store import NO_TOPIC_ID, CommittedOffset, OffsetStore, TopicPartition
from pybroker_server.coordinator.records import CoordinatorRecord
from pybroker_server.log.verification import Verification

_MEMBER_EPOCHS_FROM: Final = 9
"""Version of OffsetCommit and OffsetFetch since which they know the codes of KIP-848."""
_MS_PER_MINUTE: Final = 60_000
_EXPIRY_KEY: Final = "offset-expiry"
_END_OF_TIME_MS: Final = (1 << 63) - 1


class Offsets:
    """See the head of this file."""

    def __init__(self, context: GroupContext, classic: ClassicGroups) -> None:
        self._context = context
        self._classic = classic
        self.store = OffsetStore()
        self.replays: Mapping[type[Message], Replay] = {
            OffsetCommitKey: self._replay_offset,
            LegacyOffsetCommitKey: self._replay_offset,
        }

    # OffsetCommit

    def commit(self, effects: Effects, reply: Reply[Sequence[ErrorCode]], commit: Commit) -> None:
        """Answers a code per offset, in order. Raises KafkaError when the group or the member is refused."""
        group = self._group_to_commit(effects, commit, is_code_known=commit.version >= _MEMBER_EPOCHS_FROM)
        try:
            group.check_commit(
                commit.member_id,
                commit.instance_id,
                commit.epoch,
                commit.version,
                in_txn=False,
                partitions=[(wanted.topic_id, wanted.where[1]) for wanted in commit.offsets],
            )
        except KafkaError as error:
            if error.code is ErrorCode.STALE_MEMBER_EPOCH and commit.version < _MEMBER_EPOCHS_FROM:
                raise KafkaError(ErrorCode.UNSUPPORTED_VERSION) from None
            raise
        if isinstance(group, ClassicGroup):
            self._classic.on_commit(effects, group, commit.member_id)
        expire_ms = min(effects.wall_ms + commit.retention_ms, _END_OF_TIME_MS) if commit.retention_ms >= 0 else -1
        effects.answer(reply, self._store(effects, commit, expire_ms))

    def commit_in_transaction(
        self,
        effects: Effects,
        reply: Reply[Sequence[ErrorCode]],
        commit: TransactionalCommit,
        verification: Verification | None,
    ) -> None:
        """Offsets that count when the producer's transaction commits. As `commit`; no session is prolonged by it."""
        group = self._group_to_commit(effects, commit, is_code_known=False)
        try:
            group.check_commit(
                commit.member_id,
                commit.instance_id,
                commit.epoch,
                commit.version,
                in_txn=True,
                partitions=[(wanted.topic_id, wanted.where[1]) for wanted in commit.offsets],
            )
        except KafkaError as error:
            if error.code is ErrorCode.STALE_MEMBER_EPOCH:
                raise KafkaError(ErrorCode.ILLEGAL_GENERATION) from None
            raise
        effects.in_transaction(commit.producer_id, commit.producer_epoch, verification)
        effects.answer(reply, self._store(effects, commit, -1))

    def _store(self, effects: Effects, commit: Commit | TransactionalCommit, expire_ms: int) -> list[ErrorCode]:
        longest = self._context.config.offset_metadata_max_bytes
        has_ids = isinstance(commit, Commit)  # Kafka stores those of transactions without
        codes = []
        for wanted in commit.offsets:
            metadata = wanted.metadata or ""
            if _is_longer(metadata, longest):
                codes.append(ErrorCode.OFFSET_METADATA_TOO_LARGE)
                continue
            topic_id = wanted.topic_id if has_ids else NO_TOPIC_ID
            committed = CommittedOffset(
                wanted.offset, wanted.leader_epoch, metadata, effects.wall_ms, expire_ms, topic_id
            )
            effects.append(offset_record(commit.group_id, wanted.where, committed))
            codes.append(ErrorCode.NONE)
        return codes

    def _group_to_commit(self, effects: Effects, commit: Commit | TransactionalCommit, *, is_code_known: bool) -> Group:
        found = self._context.groups.get(commit.group_id)
        if found is not None:
            return found
        if commit.epoch < 0:
            # Known from the first record on: a commit of which nothing is kept makes no group.
            return ClassicGroup(commit.group_id, effects.wall_ms)
        raise KafkaError(ErrorCode.GROUP_ID_NOT_FOUND if is_code_known else ErrorCode.ILLEGAL_GENERATION)

    # OffsetFetch

    def fetch(
        self,
        group_id: str,
        wanted: Iterable[TopicPartition] | None,
        *,
        member_id: str | None,
        member_epoch: int,
        require_stable: bool,
    ) -> Sequence[Fetched]:
        """`wanted` None is everything. Raises KafkaError when the member is refused.

        With `require_stable`, what an open transaction may change is UNSTABLE_OFFSET_COMMIT (KIP-447).
        """
        group = self._context.groups.get(group_id)
        if group is not None:
            group.check_fetch(member_id, member_epoch)
        committed = self.store.of(group_id) if group is not None else {}
        unstable = set(self.store.pending(group_id)) if require_stable and group is not None else set()
        answer = []
        for where in committed if wanted is None else wanted:
            if where in unstable:
                answer.append(Fetched(where, None, ErrorCode.UNSTABLE_OFFSET_COMMIT))
            else:
                answer.append(Fetched(where, committed.get(where)))
        return answer

    # OffsetDelete, DeleteGroups

    def delete(self, effects: Effects, group_id: str, wanted: Sequence[TopicPartition]) -> Sequence[ErrorCode]:
        """A code per partition, in order. Raises KafkaError GROUP_ID_NOT_FOUND, NON_EMPTY_GROUP."""
        group = self._context.groups.get(group_id)
        if group is None:
            raise KafkaError(ErrorCode.GROUP_ID_NOT_FOUND)
        group.check_offset_delete()
        committed = self.store.of(group_id)
        codes = []
        for where in wanted:
            if group.is_subscribed_to(where[0]):
                codes.append(ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC)
                continue
            if where in committed or self.store.is_pending(group_id, where):
                effects.append(offset_tombstone(group_id, where))
            codes.append(ErrorCode.NONE)
        return codes

    def delete_all(self, group_id: str, effects: Effects) -> None:
        """Everything that the group has committed or is about to."""
        for where in {*self.store.of(group_id), *self.store.pending(group_id)}:
            effects.append(offset_tombstone(group_id, where))

    def delete_topics(self, effects: Effects, names: frozenset[str]) -> None:
        """These topics are gone, and with them every position in them."""
        effects.is_atomic = False
        for group_id in self.store.group_ids:
            for where in {*self.store.of(group_id), *self.store.pending(group_id)}:
                if where[0] in names:
                    effects.append(offset_tombstone(group_id, where))

    # Expiry (KIP-211)

    def on_loaded(self, effects: Effects) -> None:
        """Begins to look for what may be dropped."""
        interval_ms = self._context.config.offsets_retention_check_interval_ms
        self._context.timeouts.set(_EXPIRY_KEY, effects.now_ms + interval_ms, self._expire)

    def _expire(self, effects: Effects) -> None:
        self.on_loaded(effects)
        effects.is_atomic = False
        for group_id, group in list(self._context.groups.items()):
            if self._expire_group(effects, group_id, group) and group.is_empty:
                for record in group.tombstones():
                    effects.append(record)

    def _expire_group(self, effects: Effects, group_id: str, group: Group) -> bool:
        """Whether nothing is left of the group's offsets."""
        retention_ms = self._context.config.offsets_retention_minutes * _MS_PER_MINUTE
        pending = set(self.store.pending(group_id))
        is_bare = not pending
        for where, committed in self.store.of(group_id).items():
            since_ms = group.offsets_expire_from_ms(where[0], committed.commit_timestamp_ms)
            if since_ms is None or where in pending or group.is_subscribed_to(where[0]):
                is_bare = False
                continue
            if committed.expire_timestamp_ms >= 0:
                has_expired = effects.wall_ms >= committed.expire_timestamp_ms
            else:
                has_expired = effects.wall_ms - since_ms >= retention_ms
            if has_expired:
                effects.append(offset_tombstone(group_id, where))
            else:
                is_bare = False
        return is_bare

    # The log

    def _replay_offset(self, record: CoordinatorRecord, producer_id: int, producer_epoch: int) -> None:
        del producer_epoch
        key = cast(OffsetCommitKey | LegacyOffsetCommitKey, record.key)
        where = (key.topic, key.partition)
        if record.value is None:
            self.store.remove(key.group, where)
            return
        if key.group not in self._context.groups:
            committed = cast(OffsetCommitValue | LegacyOffsetCommitValue, record.value)
            self._classic.get_or_create(key.group, committed.commit_timestamp)
        value = cast(OffsetCommitValue | LegacyOffsetCommitValue, record.value)
        self.store.put(key.group, where, committed_from(value), producer_id)

    def replay_marker(self, producer_id: int, *, is_commit: bool) -> None:
        """What the producer committed in its transaction counts now, or is forgotten."""
        self.store.end_transaction(producer_id, is_commit=is_commit)


def _is_longer(text: str, limit: int) -> bool:
    """Java counts UTF-16 units: a character beyond the first 65,536 is two."""
    if 2 * len(text) <= limit or len(text) > limit:
        return len(text) > limit
    return len(text.encode("utf-16-le")) > 2 * limit
