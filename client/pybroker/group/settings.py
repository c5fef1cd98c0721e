"""How a consumer takes part in its group, and what it is told and tells. Plain values.

Rules: durations are seconds. `Position` is what is committed: the offset of the next record, and the leader epoch of
the one before it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, TypedDict, get_args

from pybroker.group.assignors import ASSIGNORS
from pybroker.metadata import TopicPartition

__all__ = [
    "Assigned",
    "CommitMode",
    "GroupEvent",
    "GroupMetadata",
    "GroupOptions",
    "GroupSettings",
    "Lost",
    "Position",
    "Protocol",
    "Revoked",
    "Slow",
]

CommitMode = Literal["after", "before", "manual"]
Protocol = Literal["auto", "consumer", "classic"]

DEFAULT_ASSIGNORS: Final = ("range", "roundrobin", "cooperative-sticky")


class Position(NamedTuple):
    """An offset to go on from. `leader_epoch` is that of the record before it, -1 when not known (KIP-320)."""

    offset: int
    leader_epoch: int = -1
    metadata: str = ""


class GroupMetadata(NamedTuple):
    """Who the consumer is in its group now. `generation` is the member epoch with KIP-848; -1 while it is no member."""

    group: str
    generation: int
    member_id: str
    instance_id: str | None


@dataclass(frozen=True, slots=True)
class Assigned:
    """These partitions are read from now on; a handler of the event may `seek` them first."""

    partitions: tuple[TopicPartition, ...]


@dataclass(frozen=True, slots=True)
class Revoked:
    """These partitions are about to be given up; what was finished is committed once handlers of the event are done."""

    partitions: tuple[TopicPartition, ...]


@dataclass(frozen=True, slots=True)
class Lost:
    """These partitions belong to others already (the group had forgotten this member): commits come too late."""

    partitions: tuple[TopicPartition, ...]


@dataclass(frozen=True, slots=True)
class Slow:
    """The application has asked for nothing for `seconds`, which is longer than max_poll_interval."""

    seconds: float


GroupEvent = Assigned | Revoked | Lost | Slow
OnEvent = Callable[[GroupEvent], Awaitable[None] | None]


class GroupOptions(TypedDict, total=False):
    """Keyword arguments of `Consumer` with a group. Durations are seconds.

    group_protocol: "consumer" (KIP-848, the broker assigns), "classic", or "auto": the first where the broker has it.
    instance_id: makes the member static: it keeps its partitions over restarts shorter than the session timeout.
    server_assignor: "uniform" or "range", of KIP-848. assignors: of the classic protocol, the preferred one first.
    session_timeout and heartbeat_interval: of the classic protocol; with KIP-848 they are the broker's.
    rebalance_timeout: how long a member may take to give up partitions. max_poll_interval: after how long a handler is
    called slow. commit_interval: how often finished records are committed. on_event: called, and awaited, with each
    `Assigned`, `Revoked`, `Lost` and `Slow`.
    """

    group_protocol: Protocol
    instance_id: str | None
    server_assignor: str | None
    assignors: Sequence[str]
    session_timeout: float
    heartbeat_interval: float
    rebalance_timeout: float
    max_poll_interval: float
    commit_interval: float
    on_event: OnEvent | None


@dataclass(frozen=True, slots=True)
class GroupSettings:
    """The options, with their defaults, checked. Raises ValueError for what cannot be."""

    group: str
    commit: CommitMode = "after"
    group_protocol: Protocol = "auto"
    instance_id: str | None = None
    server_assignor: str | None = None
    assignors: Sequence[str] = DEFAULT_ASSIGNORS
    session_timeout: float = 45.0
    heartbeat_interval: float = 3.0
    rebalance_timeout: float = 60.0
    max_poll_interval: float = 300.0
    commit_interval: float = 1.0
    on_event: OnEvent | None = None
    rack: str = ""

    def __post_init__(self) -> None:
        if not self.group:
            raise ValueError("group='': a group has a name")
        _one_of("commit", self.commit, get_args(CommitMode))
        _one_of("group_protocol", self.group_protocol, get_args(Protocol))
        if not self.assignors:
            raise ValueError("assignors=(): name at least one")
        for name in self.assignors:
            _one_of("assignors", name, tuple(ASSIGNORS))
        if not 0 < self.heartbeat_interval < self.session_timeout:
            raise ValueError(
                f"heartbeat_interval={self.heartbeat_interval}: it must be more than 0, and less than session_timeout"
                f" ({self.session_timeout:g})"
            )
        for duration in ("rebalance_timeout", "max_poll_interval", "commit_interval"):
            if not getattr(self, duration) > 0:
                raise ValueError(f"{duration}={getattr(self, duration)!r}: it must be more than 0")

    @property
    def is_eager(self) -> bool:
        """Whether everything is given up before each classic rebalance: unless all assignors are cooperative."""
        return any(not ASSIGNORS[name].is_cooperative for name in self.assignors)


def _one_of(name: str, value: object, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise ValueError(f"{name}={value!r}: it can be {', '.join(map(repr, allowed))}")
