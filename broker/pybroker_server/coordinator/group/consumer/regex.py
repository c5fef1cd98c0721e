"""Subscriptions by pattern (KIP-848), matched against whole topic names.

Rules of this file: pure.
"""

from __future__ import annotations

from pybroker_protocol.errors import KafkaError
from pybroker_server.coordinator.patterns import compiled_pattern
from pybroker_server.metadata.image import MetadataImage


def check_regex(regex: str) -> None:
    """Raises KafkaError INVALID_REGULAR_EXPRESSION with what is wrong with it."""
    try:
        compiled_pattern(regex)
    except KafkaError as error:
        raise KafkaError(
            error.code, f"SubscribedTopicRegex `{regex}` is not a valid pattern: {error.message}."
        ) from None


def matching_topics(regex: str, image: MetadataImage) -> frozenset[str]:
    """The topics that there are whose whole name matches."""
    pattern = compiled_pattern(regex)
    return frozenset(name for name in image.topics_by_name if pattern.fullmatch(name) is not None)
