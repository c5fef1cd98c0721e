"""CRC-32C (Castagnoli), the checksum of record batches.

The work is done by the `crc32c` package: it uses the processor's instruction where there is one and reads any
buffer without a copy. Its compiled module is taken without the package around it, which looks its own version up among
all installed packages and loads a command line: 20 ms of every start for nothing.
"""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from typing import Final, Protocol

from pybroker_protocol.records import Buffer

__all__ = ["crc32c"]

_NAME: Final = "crc32c._crc32c"


class Checksum(Protocol):
    def __call__(self, data: Buffer, value: int = 0, /) -> int:
        """The checksum of `data`, continued from `value`, the checksum of the bytes before it."""


def _compiled() -> Checksum:
    if "crc32c" not in sys.modules:
        package = find_spec("crc32c")
        found = PathFinder.find_spec(_NAME, package.submodule_search_locations) if package is not None else None
        if found is not None and found.loader is not None:
            module = module_from_spec(found)
            found.loader.exec_module(module)
            alone: Checksum = module.crc32c
            return alone
    from crc32c import crc32c as whole

    return whole


crc32c: Final = _compiled()
