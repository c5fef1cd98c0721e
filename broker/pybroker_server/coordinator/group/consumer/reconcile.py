"""Brings a member one step nearer to its target assignment.

Rules of this file: pure. A member first gives up what it is to lose, and keeps its epoch until it has said so; then it
reaches the target's epoch and receives what nobody else holds any more. So no partition ever has two owners, and what a
member keeps it never stops reading (KIP-848).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from uuid import UUID

from pybroker_server.coordinator.group.consumer.member import (
    Assignment,
    ConsumerMember,
    MemberState,
    Owned,
)

IsHeld = Callable[[UUID, int], bool]
"""(topic id, partition): a member has it or has not given it up yet."""


def reconciled(
    member: ConsumerMember, target_epoch: int, target: Assignment, is_held: IsHeld, owned: Assignment | None
) -> ConsumerMember:
    """The member after one step; the same object when there is none to make.

    `target` is the member's part of the target assignment without what it no longer subscribes to. `owned` is what the
    member said that it has, None when it said nothing.
    """
    if member.is_reconciled_to(target_epoch) and member.assigned.keys() <= target.keys():
        return member
    if member.state is MemberState.UNREVOKED_PARTITIONS:
        if _still_owns(owned, member.revoking):
            return member
        # All is given up: it has arrived in the epoch for which it did that, and goes on from there.
        return _next(member, member.epoch + 1, target_epoch, target, is_held, owned)
    return _next(member, member.epoch, target_epoch, target, is_held, owned)


def _next(
    member: ConsumerMember, epoch: int, target_epoch: int, target: Assignment, is_held: IsHeld, owned: Assignment | None
) -> ConsumerMember:
    kept: dict[UUID, dict[int, int]] = {}
    revoked: dict[UUID, dict[int, int]] = {}
    added: dict[UUID, dict[int, int]] = {}
    is_waiting = False
    for topic_id in {**member.assigned, **target}:
        wanted = target.get(topic_id, frozenset())
        had = member.assigned.get(topic_id, {})
        _put(kept, topic_id, {index: since for index, since in had.items() if index in wanted})
        _put(revoked, topic_id, {index: since for index, since in had.items() if index not in wanted})
        missing = wanted - had.keys()
        free = {index for index in missing if not is_held(topic_id, index)}
        is_waiting = is_waiting or len(free) < len(missing)
        _put(added, topic_id, dict.fromkeys(sorted(free), target_epoch))
    if revoked and _still_owns(owned, revoked):
        return _moved(member, epoch, MemberState.UNREVOKED_PARTITIONS, kept, revoked)
    for topic_id, partitions in added.items():
        kept[topic_id] = {**kept.get(topic_id, {}), **partitions}
    state = MemberState.UNRELEASED_PARTITIONS if is_waiting else MemberState.STABLE
    return _moved(member, target_epoch, state, kept, {})


def _moved(member: ConsumerMember, epoch: int, state: MemberState, assigned: Owned, revoking: Owned) -> ConsumerMember:
    return replace(member, epoch=epoch, previous_epoch=member.epoch, state=state, assigned=assigned, revoking=revoking)


def _put(into: dict[UUID, dict[int, int]], topic_id: UUID, partitions: dict[int, int]) -> None:
    if partitions:
        into[topic_id] = partitions


def _still_owns(owned: Assignment | None, revoked: Mapping[UUID, Mapping[int, int]]) -> bool:
    """Silence is no confirmation."""
    if owned is None:
        return True
    return any(owned.get(topic_id, NOTHING_OF_IT) & partitions.keys() for topic_id, partitions in revoked.items())


NOTHING_OF_IT: frozenset[int] = frozenset()
