"""How the store's words are spelled for etcd's JSON gateway, and what its answers mean.

Rules of this file: pure. The gateway writes bytes in base64, 64-bit numbers as decimal strings, and leaves out
whatever is zero, false or empty. Keys lie under the prefix of the URL:

    <prefix>/data/<key>     what the store holds
    <prefix>/progress       written now and then so that watches hear of a revision (see `etcd_watch.py`); empty
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pybroker_server.metadata.store import Compare, KeyValue, Put, WatchEvent

Json = dict[str, Any]


class Keyspace:
    """The keys of one cluster in an etcd."""

    def __init__(self, prefix: str) -> None:
        """`prefix` begins with `/` and does not end with it, so there is always a key after the last of
        ours."""
        root = prefix.encode()
        self.data = root + b"/data/"
        self.progress = root + b"/progress"
        self.bounds = (root + b"/", root + b"0")
        """Everything that is ours: from the first key up to and without the second."""

    def key(self, key: bytes) -> bytes:
        return self.data + key

    def key_value(self, found: Mapping[str, Any]) -> KeyValue:
        return KeyValue(
            key=b64decode(found["key"])[len(self.data) :],
            value=b64decode(found.get("value", "")),
            create_revision=number(found, "create_revision"),
            mod_revision=number(found, "mod_revision"),
            lease_id=number(found, "lease"),
        )

    def watch_event(self, event: Mapping[str, Any]) -> WatchEvent | None:
        """None when the changed key is none of the store's."""
        changed = event["kv"]
        raw = b64decode(changed["key"])
        if not raw.startswith(self.data):
            return None
        return WatchEvent(
            key=raw[len(self.data) :],
            value=b64decode(changed.get("value", "")),
            mod_revision=number(changed, "mod_revision"),
            deleted=event.get("type") == "DELETE",
        )

    def commit(self, compares: Sequence[Compare], puts: Iterable[Put], deletes: Iterable[bytes]) -> Json:
        """The transaction: the changes happen when all comparisons hold."""
        wanted = [
            {
                "key": text(self.key(compare.key)),
                "target": "MOD",
                "result": "EQUAL",
                "mod_revision": str(compare.mod_revision),
            }
            for compare in compares
        ]
        changes: list[Json] = [
            {"request_put": {"key": text(self.key(put.key)), "value": text(put.value), "lease": str(put.lease_id)}}
            for put in puts
        ]
        changes += [{"request_delete_range": {"key": text(self.key(key))}} for key in deletes]
        return {"compare": wanted, "success": changes}

    def range(self, prefix: bytes, limit: int, after: bytes, revision: int) -> Json:
        first = self.key(prefix)
        if after:
            first = max(first, self.key(after) + b"\0")
        end = prefix_end(self.key(prefix))
        return {
            "key": text(first),
            # A range that ends before it begins would be refused; one of a single key that cannot be is empty.
            "range_end": text(max(first, end)),
            "limit": str(limit),
            "revision": str(revision),
        }

    def watch(self, from_revision: int) -> Json:
        first, end = self.bounds
        return {
            "create_request": {
                "key": text(first),
                "range_end": text(end),
                "start_revision": str(from_revision),
                "progress_notify": True,
                "fragment": True,
            }
        }


def text(raw: bytes) -> str:
    return b64encode(raw).decode()


def number(fields: Mapping[str, Any], name: str) -> int:
    return int(fields.get(name, 0))


def revision_of(answer: Mapping[str, Any]) -> int:
    """The revision of etcd when it answered."""
    return number(answer["header"], "revision")


def prefix_end(prefix: bytes) -> bytes:
    """The first key after all that begin with `prefix`, which is not of 0xff bytes only."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes([stem[-1] + 1])
