"""Who follows whom: a fetcher for each leader that this broker follows.

Rules of this file: the event loop only. `on_role` is told of every change of a partition's role and looks at its state
alone, so that it may be called too often.
"""

from __future__ import annotations

from pybroker_protocol.errors import ErrorCode
from pybroker_server.config.views import BrokerConfig
from pybroker_server.metadata.image import NO_LEADER
from pybroker_server.replica.fetcher import LeaderFetcher
from pybroker_server.replica.follower_parts import FollowerParts
from pybroker_server.replica.follower_session import Key
from pybroker_server.replica.partition import Partition


class Followers:
    """Made by the replica manager, which alone calls it."""

    def __init__(self, parts: FollowerParts) -> None:
        self._parts = parts
        self._fetchers: dict[int, LeaderFetcher] = {}
        self._followed: dict[Key, tuple[Partition, int, int]] = {}
        """By partition: (the partition, its leader, the leader epoch)."""
        self._is_stopped = False

    def on_role(self, partition: Partition) -> None:
        """Follows, or stops following, as the partition's state says."""
        state = partition.state
        key = (partition.topic_id.int, partition.index)
        wanted = (partition, state.leader, state.leader_epoch)
        is_follower = (
            partition.error is ErrorCode.NONE
            and not partition.is_resting
            and state.leader not in (NO_LEADER, state.local_id)
        )
        known = self._followed.get(key)
        if (is_follower and known == wanted) or self._is_stopped:
            return
        if known is not None:
            del self._followed[key]
            fetcher = self._fetchers[known[1]]
            fetcher.unfollow(key)
            if fetcher.is_idle and not (is_follower and known[1] == state.leader):
                fetcher.stop()
                del self._fetchers[known[1]]
        if is_follower:
            self._followed[key] = wanted
            fetcher_of = self._fetchers.get(state.leader)
            if fetcher_of is None:
                fetcher_of = self._fetchers[state.leader] = LeaderFetcher(state.leader, self._parts)
            fetcher_of.follow(partition)

    def on_config(self, config: BrokerConfig) -> None:
        self._parts.config = config

    def stop(self) -> None:
        """Fetches no more; what is under way is ignored."""
        self._is_stopped = True
        for fetcher in self._fetchers.values():
            fetcher.stop()
        self._fetchers.clear()
        self._followed.clear()
