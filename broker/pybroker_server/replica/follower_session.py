"""The follower's half of an incremental fetch session (KIP-227): what the leader is told anew, and what it knows.

Rules of this file: pure. Partitions are told when they come, when their offset or epoch changed, and when they go; the
leader goes on with the last it was told of each. After any doubt (a lost connection, a session that the leader does not
know) everything is told again.
"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from pybroker_protocol.messages import FetchRequest, FetchResponse
from pybroker_server.replica.fetch_session import FINAL_EPOCH, INITIAL_EPOCH, INVALID_SESSION_ID, next_epoch

Key = tuple[int, int]
"""(topic id as a number, partition index)"""
Topics = list[FetchRequest.FetchTopic]
Forgotten = list[FetchRequest.ForgottenTopic]


class FollowerSession:
    """`next_request` says what goes into a request; `on_response` must follow before the next, or `reset`."""

    __slots__ = ("_changed", "_epoch", "_gone", "_session_id", "_told")

    def __init__(self) -> None:
        self._session_id = INVALID_SESSION_ID
        self._epoch = INITIAL_EPOCH
        self._told: set[Key] = set()
        """What the leader's session holds."""
        self._changed: set[Key] = set()
        self._gone: set[Key] = set()

    def note(self, key: Key) -> None:
        """This partition is to be fetched, from now on or from another place."""
        self._changed.add(key)
        self._gone.discard(key)

    def forget(self, key: Key) -> None:
        """This partition is not to be fetched for now."""
        self._changed.discard(key)
        if key in self._told:
            self._gone.add(key)

    @property
    def has_news(self) -> bool:
        """Whether a partition waits to be told of."""
        return bool(self._changed)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to fetch at all."""
        return not self._changed and self._told == self._gone

    def keys(self) -> set[Key]:
        """All that is fetched now."""
        return (self._told | self._changed) - self._gone

    def reset(self) -> None:
        """Begins another session with all partitions in it; the leader may keep the old one until it is full."""
        self._changed = self.keys()
        self._told = set()
        self._gone = set()
        self._epoch = INITIAL_EPOCH

    def next_request(self) -> tuple[int, int, list[Key], list[Key]]:
        """(session id, session epoch, partitions to name, partitions to forget); they count as told from now on."""
        if self._epoch == FINAL_EPOCH:
            named, forgotten = self.keys(), set()
        else:
            named, forgotten = self._changed, self._gone
        self._told = (self._told | self._changed) - self._gone
        session_id, epoch = self._session_id, self._epoch
        if epoch == INITIAL_EPOCH:
            self._session_id = INVALID_SESSION_ID
        self._changed, self._gone = set(), set()
        return session_id, epoch, sorted(named), sorted(forgotten)

    def on_response(self, response: FetchResponse) -> None:
        """A leader that has no place for a session is asked in full each time."""
        if self._epoch == FINAL_EPOCH:
            return
        if response.session_id == INVALID_SESSION_ID:
            self._epoch = FINAL_EPOCH
            self._session_id = INVALID_SESSION_ID
            return
        self._session_id = response.session_id
        self._epoch = next_epoch(self._epoch)


def grouped_topics(asked: Iterable[tuple[Key, FetchRequest.FetchPartition]]) -> Topics:
    """Under their topics, in order."""
    topics: dict[int, FetchRequest.FetchTopic] = {}
    for (topic, _), partition in asked:
        found = topics.get(topic)
        if found is None:
            found = topics[topic] = FetchRequest.FetchTopic(topic_id=UUID(int=topic), partitions=[])
        found.partitions.append(partition)
    return list(topics.values())


def grouped_forgotten(keys: Iterable[Key]) -> Forgotten:
    topics: dict[int, FetchRequest.ForgottenTopic] = {}
    for topic, index in keys:
        found = topics.get(topic)
        if found is None:
            found = topics[topic] = FetchRequest.ForgottenTopic(topic_id=UUID(int=topic), partitions=[])
        found.partitions.append(index)
    return list(topics.values())
