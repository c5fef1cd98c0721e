"""The spelling of keys, ranges and changes for etcd; what a real etcd makes of it, the conformance suite shows."""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybroker_server.metadata.etcd_wire import Keyspace, prefix_end
from pybroker_server.metadata.store import Compare, KeyValue, Put, WatchEvent

KEYSPACE = Keyspace("/c1")
KEYS = st.binary(max_size=4).map(lambda raw: raw.replace(b"\x80", b"\xff"))


def coded(raw: bytes) -> str:
    return b64encode(raw).decode()


@given(prefix=KEYS, key=KEYS)
def test_the_end_of_a_prefix_parts_its_keys_from_all_others(prefix: bytes, key: bytes) -> None:
    first, end = KEYSPACE.key(prefix), prefix_end(KEYSPACE.key(prefix))
    assert (first <= KEYSPACE.key(key) < end) == key.startswith(prefix)


@given(prefix=KEYS, after=KEYS, key=KEYS)
def test_a_range_holds_the_keys_of_the_prefix_after_a_key(prefix: bytes, after: bytes, key: bytes) -> None:
    asked = KEYSPACE.range(prefix, 0, after, 0)
    first, end = b64decode(asked["key"]), b64decode(asked["range_end"])
    assert first <= end
    assert (first <= KEYSPACE.key(key) < end) == (key.startswith(prefix) and (not after or key > after))


def test_everything_of_a_cluster_lies_within_its_bounds_and_nothing_of_a_neighbour() -> None:
    first, end = KEYSPACE.bounds
    own = [KEYSPACE.key(b""), KEYSPACE.key(b"\xff" * 9), KEYSPACE.progress]
    assert all(first <= key < end for key in own)
    others = [b"/c", b"/c1", b"/c10/data/x", b"/c1-b/data/x", b"/c2/data/"]
    assert not any(first <= key < end for key in others)


def test_numbers_are_strings_and_bytes_are_base64() -> None:
    asked = KEYSPACE.commit([Compare(b"a", 2**62)], [Put(b"b", b"\0\xff", 2**62 + 1)], [b"c"])
    assert asked == {
        "compare": [
            {"key": coded(b"/c1/data/a"), "target": "MOD", "result": "EQUAL", "mod_revision": "4611686018427387904"}
        ],
        "success": [
            {"request_put": {"key": coded(b"/c1/data/b"), "value": coded(b"\0\xff"), "lease": "4611686018427387905"}},
            {"request_delete_range": {"key": coded(b"/c1/data/c")}},
        ],
    }


def test_what_is_zero_or_empty_is_left_out_of_answers() -> None:
    found = {"key": coded(b"/c1/data/k"), "create_revision": "3", "mod_revision": "7"}
    assert KEYSPACE.key_value(found) == KeyValue(b"k", b"", 3, 7)
    assert KEYSPACE.key_value({**found, "value": coded(b"v"), "lease": "9"}) == KeyValue(b"k", b"v", 3, 7, 9)


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({"kv": {"key": coded(b"/c1/data/k"), "value": coded(b"v"), "mod_revision": "5"}}, WatchEvent(b"k", b"v", 5)),
        (
            {"type": "DELETE", "kv": {"key": coded(b"/c1/data/k"), "mod_revision": "5"}},
            WatchEvent(b"k", b"", 5, deleted=True),
        ),
        ({"kv": {"key": coded(b"/c1/progress"), "mod_revision": "5"}}, None),
    ],
)
def test_events_are_those_of_the_stores_keys(event: dict[str, Any], expected: WatchEvent | None) -> None:
    assert KEYSPACE.watch_event(event) == expected
