"""Patterns that clients send: RE2, so that none takes more than linear time (KIP-848, KIP-1152).

Rules of this file: pure.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from pybroker_protocol.errors import ErrorCode, KafkaError

_PATTERN_BYTES_MAX = 1 << 20
"""Of a compiled pattern; what is larger is refused."""


@lru_cache(maxsize=1024)
def compiled_pattern(regex: str) -> Any:
    """A pattern to `fullmatch` with. Raises KafkaError INVALID_REGULAR_EXPRESSION with what is wrong with it."""
    import re2

    options = re2.Options()
    options.log_errors = False
    options.max_mem = _PATTERN_BYTES_MAX
    try:
        return re2.compile(regex, options=options)
    except re2.error as error:
        raise KafkaError(ErrorCode.INVALID_REGULAR_EXPRESSION, str(error)) from None
