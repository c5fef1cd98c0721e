"""What a member of etcd answered: an answer, a refusal, or nothing that can be used.

Rules of this file: pure; it reads answers and knows the words of etcd's errors, and what a user can do about them.
"""

from __future__ import annotations

import json
from typing import Any

from pybroker_server.metadata.etcd_wire import Json, number
from pybroker_server.metadata.store import StoreError

_SHOWN_CHARACTERS = 120

_CANCELLED, _UNKNOWN, _DEADLINE_EXCEEDED, _INTERNAL, _UNAVAILABLE = 1, 2, 4, 13, 14
_MEMBER_IN_TROUBLE = frozenset({_CANCELLED, _UNKNOWN, _DEADLINE_EXCEEDED, _INTERNAL, _UNAVAILABLE})
"""gRPC codes after which another member may do better: no leader, a leader that changed, no quorum in time. An error
without a code is none of etcd's own."""
_NOT_ETCD = "it answers with JSON that is none of etcd's"
_STALE_TOKEN = ("invalid auth token", "revision of auth store is old")
_HINTS = {
    "user name is empty": "etcd asks who we are: write etcd://user@host...?password-file=/path of a file",
    "authentication failed": "check the user before the @ and what is in the password file",
    "authentication is not enabled": "take user and password-file out of the URL, or run etcdctl auth enable",
    "permission denied": "grant the user's role readwrite on the prefix of the URL",
    "database space exceeded": "free some: etcdctl compact, defrag, then alarm disarm",
    "request is too large": "start etcd with a higher --max-request-bytes",
}


class EtcdRefusedError(StoreError):
    """etcd answered with an error: what was asked did not happen, unless `is_trouble`."""

    def __init__(self, endpoint: str, reason: str, code: int) -> None:
        hint = next((f"; {hint}" for words, hint in _HINTS.items() if words in reason), "")
        super().__init__(f"etcd at {endpoint} refused: {reason.removeprefix('etcdserver: ')}{hint}")
        self.reason = reason
        self.is_trouble = code in _MEMBER_IN_TROUBLE or code == 0
        """The member could not do its work; whether a write happened is unknown."""

    @property
    def is_stale_token(self) -> bool:
        return any(words in self.reason for words in _STALE_TOKEN)


class MemberFailedError(Exception):
    """No answer, or none that can be used; the text names neither the member nor what was asked."""


class NotConnectedError(MemberFailedError):
    """Nothing was sent."""


def parsed(endpoint: str, status: int, raw: bytes) -> Json:
    """The object that a member answered with. Raises EtcdRefusedError, MemberFailedError."""
    try:
        answer = json.loads(raw)
    except ValueError:
        shown = raw[:_SHOWN_CHARACTERS].decode("utf-8", "replace").strip()
        raise MemberFailedError(
            f"HTTP status {status} and no JSON ({shown!r}): not the gateway of an etcd 3.4 or newer"
        ) from None
    return unrefused(endpoint, answer, status)


def unrefused(endpoint: str, answer: Any, status: int) -> Json:
    """The answer, if it tells no error, which etcd 3.4, 3.5 and 3.6 spell differently. Raises EtcdRefusedError."""
    if not isinstance(answer, dict):
        raise MemberFailedError(_NOT_ETCD)
    error = answer.get("error")
    fields = error if isinstance(error, dict) else answer
    code = number(fields, "grpc_code" if "grpc_code" in fields else "code")
    if error or status != 200:
        reason = fields.get("message") or error or f"HTTP status {status}"
        raise EtcdRefusedError(endpoint, str(reason), code)
    return answer


def header_of(result: Any) -> Json:
    """Everything that etcd answers has one."""
    header = result.get("header") if isinstance(result, dict) else None
    if not isinstance(header, dict):
        raise MemberFailedError(_NOT_ETCD)
    return header
