"""Codes of the transaction coordinator in the words of older clients (KIP-588). Rules of this file: pure."""

from __future__ import annotations

from pybroker_protocol.errors import ErrorCode


def code_for_version(code: ErrorCode, version: int, fenced_from: int) -> ErrorCode:
    """PRODUCER_FENCED is INVALID_PRODUCER_EPOCH to requests below version `fenced_from`."""
    if code is ErrorCode.PRODUCER_FENCED and version < fenced_from:
        return ErrorCode.INVALID_PRODUCER_EPOCH
    return code
