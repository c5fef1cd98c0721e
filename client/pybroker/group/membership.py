"""What both protocols of membership share: what they are given, and what the consumer asks of them.

Rules: `run` lasts as long as the membership. It ends by being cancelled, or by raising what cannot be helped by trying
again; whatever passes is tried again within.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from pybroker.client import Client
from pybroker.group.coordinator import Coordinator
from pybroker.group.handover import Handover
from pybroker.group.settings import GroupSettings
from pybroker.tasks import TaskOwner

__all__ = ["Membership", "Surroundings"]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """`topics()` are the names that the consumer subscribes to now; `on_stable` is called whenever this member has
    got its part."""

    client: Client
    settings: GroupSettings
    coordinator: Coordinator
    handover: Handover
    tasks: TaskOwner
    topics: Callable[[], frozenset[str]]
    on_stable: Callable[[], None]


class Membership(Protocol):
    """One member of a group, by one protocol."""

    member_id: str
    generation: int
    """The generation, or the member epoch; -1 while there is none."""
    is_stable: bool
    """Whether the member has what the group wants it to have."""

    async def run(self) -> None:
        """Join, stay, join again. Raises `KafkaError`."""

    def on_metadata(self) -> None:
        """The cluster's metadata, or what the consumer subscribes to, has changed."""

    async def leave(self, time_limit: float) -> None:
        """Tell the group that this member is gone. Raises `KafkaError`."""
