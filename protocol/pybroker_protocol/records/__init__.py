"""Record batches, format version 2: reading, building, compressing.

`Buffer` is what all of it reads: bytes, or a view of a buffer whose owner keeps it alive for the call.
"""

from __future__ import annotations

from typing import TypeAlias

__all__ = ["Buffer"]

Buffer: TypeAlias = bytes | bytearray | memoryview
