"""Which topics a consumer reads: names, and patterns that are looked for among all topics.

Rules: a pattern is Python's, matches a whole name, and finds no internal topics (as the Java client does). Names that
do not exist yet are kept: they are read from when they do.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Iterable
from typing import Final

from pybroker.client import Client
from pybroker.errors import Retriable, error_for
from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.messages import MetadataRequest, MetadataResponse

__all__ = ["Subscription"]

log = logging.getLogger("pybroker.consumer")

_NOTHING_FOUND_INTERVAL: Final = 0.5


class Subscription:
    """`on_change` is called when a pattern has found others than before."""

    def __init__(self, client: Client, topics: Iterable[str | re.Pattern[str]], on_change: Callable[[], None]) -> None:
        given = list(dict.fromkeys(topics))
        self._client = client
        self._on_change = on_change
        self.patterns = [each for each in given if not isinstance(each, str)]
        self.named: Final = [each for each in given if isinstance(each, str)]
        self._found: list[str] = []

    @property
    def names(self) -> list[str]:
        return self.named + [name for name in self._found if name not in self.named]

    def open(self) -> None:
        self._client.track(self.named)

    def close(self) -> None:
        self._client.untrack(self.named + self._found)

    async def look(self) -> None:
        """Look for topics that the patterns match, for ever."""
        while True:
            try:
                found = await self._matching()
            except Retriable as error:
                log.debug("topics could not be listed, trying again: %s", error)
            else:
                self._take(found)
            await asyncio.sleep(
                self._client.metadata_max_age
                if self._found
                else min(self._client.metadata_max_age, _NOTHING_FOUND_INTERVAL)
            )

    async def _matching(self) -> list[str]:
        request = MetadataRequest(topics=None, allow_auto_topic_creation=False)
        response: MetadataResponse = await self._client.ask_any(ApiKey.METADATA, request)
        if response.error_code:
            raise error_for(response.error_code, "list of topics")
        names = [topic.name for topic in response.topics if topic.name and not topic.is_internal]
        return sorted(name for name in names if any(pattern.fullmatch(name) for pattern in self.patterns))

    def _take(self, found: list[str]) -> None:
        if found == self._found:
            return
        before, self._found = self._found, found
        self._client.track(found)
        self._client.untrack(before)
        self._on_change()
