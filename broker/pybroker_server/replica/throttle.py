"""Limits on what replicas that are not in sync may fetch, so that a reassignment leaves room for clients (KIP-73).

Rules of this file: pure. A topic's `leader.` and `follower.replication.throttled.replicas` name (partition, broker)
pairs or all; the brokers' `...replication.throttled.rate` is what they may send and fetch for those, all together.
Replicas in sync are never held back: that would hold up producers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

LEADERS_KEY: Final = "leader.replication.throttled.replicas"
FOLLOWERS_KEY: Final = "follower.replication.throttled.replicas"
_ALL: Final = "*"


def throttled_partitions(configs: Mapping[str, str], key: str, node_id: int) -> frozenset[int] | None:
    """The partitions of a topic that are throttled on this broker by `key`; None for all of them."""
    found: set[int] = set()
    for item in configs.get(key, "").split(","):
        entry = item.strip()
        if entry == _ALL:
            return None
        partition, _, node = entry.partition(":")
        if node == str(node_id):
            found.add(int(partition))
    return frozenset(found)


class ReplicationQuota:
    """Bytes per second. What goes over it is paid for by waiting: an answer may always be one batch too large."""

    __slots__ = ("_free_from_ms", "bytes_per_second")

    def __init__(self, bytes_per_second: int) -> None:
        self.bytes_per_second = bytes_per_second
        self._free_from_ms = 0.0

    def note(self, size_bytes: int, now_ms: int) -> None:
        rate = max(self.bytes_per_second, 1)
        self._free_from_ms = max(self._free_from_ms, now_ms) + size_bytes * 1000 / rate

    def wait_ms(self, now_ms: int) -> int:
        """How long nothing more may be sent or asked for; 0 when something may."""
        return max(int(self._free_from_ms - now_ms), 0)
