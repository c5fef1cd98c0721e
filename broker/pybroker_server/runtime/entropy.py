"""The system's randomness.

Rules of this file: the only place that draws random numbers. Identifiers and secrets come from the operating
system's generator; jitter does not need it and takes a cheap one.
"""

from __future__ import annotations

import os
import random
import uuid

_RESERVED_UUIDS = frozenset({uuid.UUID(int=0), uuid.UUID(int=1)})
"""Kafka's ZERO_UUID ("no id") and its one reserved id (the metadata topic)."""


class SystemEntropy:
    """`ports.Entropy` over the operating system."""

    __slots__ = ("_random",)

    def __init__(self) -> None:
        self._random = random.Random(os.urandom(16))

    def uuid(self) -> uuid.UUID:
        """A random (version 4) id that Kafka's tools can take as an argument.

        Kafka prints ids in URL-safe base64. One that begins with `-` would read as an option on a command
        line, so it is never given out, nor are the reserved ones (`org.apache.kafka.common.Uuid.randomUuid`).
        """
        while True:
            drawn = uuid.uuid4()
            if drawn not in _RESERVED_UUIDS and drawn.bytes[0] >> 2 != _BASE64_DASH:
                return drawn

    def token_bytes(self, count: int) -> bytes:
        return os.urandom(count)

    def jitter_ms(self, low_ms: int, high_ms: int) -> int:
        return self._random.randint(low_ms, high_ms)

    def choice_index(self, count: int) -> int:
        return self._random.randrange(count)


_BASE64_DASH = 62
"""The six bits that URL-safe base64 writes as `-`."""
