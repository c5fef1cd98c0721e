"""Subscriptions by pattern: RE2, so that no pattern takes more than linear time (KIP-848).

Rules of this file: pure. Patterns are matched against whole topic names.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_server.metadata.image import MetadataImage

_PATTERN_BYTES_MAX = 1 << 20
"""Of a compiled pattern; what is larger is refused."""


@lru_cache(maxsize=1024)
def _compiled(regex: str) -> Any:
    import re2

    options = re2.Options()
    options.log_errors = False
    options.max_mem = _PATTERN_BYTES_MAX
    return re2.compile(regex, options=options)


def check_regex(regex: str) -> None:
    """Raises KafkaError INVALID_REGULAR_EXPRESSION with what is wrong with it."""
    import re2

    try:
        _compiled(regex)
    except re2.error as error:
        raise KafkaError(
            ErrorCode.INVALID_REGULAR_EXPRESSION, f"SubscribedTopicRegex `{regex}` is not a valid pattern: {error}."
        ) from None


def matching_topics(regex: str, image: MetadataImage) -> frozenset[str]:
    """The topics that there are whose whole name matches."""
    pattern = _compiled(regex)
    return frozenset(name for name in image.topics_by_name if pattern.fullmatch(name) is not None)
