"""Decoded answers as plain values that do not depend on the run, so that two brokers can be compared.

What a broker chooses by itself becomes a stable name: topic and session ids, producer ids, its address, the cluster
id, directories, its clock. What a broker words becomes "<text>": only whether there is a message is compared. Lists of
topics, partitions and the like are put in order, since no client may rely on one.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from operator import itemgetter
from typing import Any, Final
from uuid import UUID

from tests.oracle.batch_reading import read_batches

from pybroker_protocol.schema.classes import Message
from pybroker_protocol.schema.nodes import ArrayOf, Field, Struct

Plain = Any
"""dict, list, str, int, bool or None."""

_TIMES: Final = {
    "timestamp",
    "log_append_time_ms",
    "base_timestamp",
    "max_timestamp",
    "last_timestamp",
    "transaction_start_time_ms",
}
_NODES: Final = {
    "node_id",
    "leader_id",
    "controller_id",
    "broker_id",
    "replica_nodes",
    "isr_nodes",
    "offline_replicas",
}
_TEXTS: Final = {"error_message", "batch_index_error_message", "documentation"}
_KEYED: Final = {"api_keys": "api_key", "configs": "name", "supported_features": "name", "finalized_features": "name"}
_TOPIC_NAMES: Final = ("name", "topic", "resource_name")
_BROKER_RESOURCES: Final = {4, 8}
_NAMED_RESOURCES: Final = {2, 32}
"""Topics and groups: they may be another exchange's."""
_LITERAL_IDS_END: Final = 1 << 64
_MADE_MEMBER_ID: Final = re.compile(
    r"(.*-)?[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[A-Za-z0-9_-]{22}"
)
"""A member id that the broker made up: classic groups have a prefix and a UUID, consumer groups a UUID in base64."""


def to_plain(message: Message, version: int) -> dict[str, Plain]:
    """The fields of a message that its version has; records as batches."""
    return _plain_struct(message, message.struct, version)


def _plain_struct(value: Message, struct: Struct, version: int) -> dict[str, Plain]:
    plain: dict[str, Plain] = {}
    for field in struct.fields:
        if not field.versions.holds(version):
            continue
        item = getattr(value, field.name)
        inner = element_struct(field)
        if field.tag is not None and _is_default(item):
            continue
        if inner is not None and item is not None:
            if isinstance(field.type, ArrayOf):
                plain[field.name] = [_plain_struct(element, inner, version) for element in item]
            else:
                plain[field.name] = _plain_struct(item, inner, version)
        elif isinstance(item, memoryview):
            plain[field.name] = read_batches(item)
        else:
            plain[field.name] = item
    return plain


def element_struct(field: Field) -> Struct | None:
    """The structure that a field holds, alone or in an array."""
    type_ = field.type.element if isinstance(field.type, ArrayOf) else field.type
    return type_ if isinstance(type_, Struct) else None


def _is_default(item: object) -> bool:
    """Whether a tagged field need not be shown: being sent with its default or not at all means the same."""
    if isinstance(item, Message):
        return item == type(item)()
    return item in (-1, [], None, False, 0)


class Normaliser:
    """Names for what changes from run to run; one for each exchange, kept over its steps.

    `moments` maps a resolved `Now` to its delta; `start_ms` is the wall clock at the start of the exchange.
    """

    def __init__(self, prefix: str, node_id: int, start_ms: int, moments: dict[int, int]) -> None:
        self._prefix = prefix
        self._node_id = node_id
        self._start_ms = start_ms
        self._moments = moments
        self._ids: dict[UUID, str] = {}
        self._generations: dict[str, int] = {}
        self._sessions: dict[int, str] = {}
        self._producers: dict[int, str] = {}
        self._members: dict[str, str] = {}
        self._rules: dict[str, Callable[[Any], Plain]] = {
            "host": lambda host: "<host>" if host else host,
            "port": lambda port: "<port>" if port > 0 else port,
            "cluster_id": lambda _: "<cluster>",
            "log_dir": lambda _: "<dir>",
            "total_bytes": lambda count: "<bytes>" if count > 0 else count,
            "usable_bytes": lambda count: "<bytes>" if count > 0 else count,
            "session_id": self._session,
            "member_id": self._member,
            "leader": self._member,
            "producer_id": lambda number: self._producers.get(number, number),
            "finalized_features_epoch": lambda epoch: "<epoch>" if epoch >= 0 else epoch,
        }

    def learn_topic(self, name: str, topic_id: UUID) -> None:
        """Gives a topic's id its name; the second id of one name (deleted and made again) is numbered."""
        if topic_id.int == 0 or topic_id in self._ids:
            return
        short = self._shorten(name)
        generation = self._generations.get(short, 0) + 1
        self._generations[short] = generation
        self._ids[topic_id] = f"id of {short}" if generation == 1 else f"id {generation} of {short}"

    def learn_producer(self, producer_id: int) -> None:
        """Gives a producer id that the broker allocated its number."""
        if producer_id >= 0 and producer_id not in self._producers:
            self._producers[producer_id] = f"producer {len(self._producers) + 1}"

    def normalise(self, answer: dict[str, Plain], *, own: bool) -> dict[str, Plain]:
        """`own`: keep only topics (and topic resources) of this exchange."""
        self._learn(answer)
        shown = self._value("", answer, own)
        assert isinstance(shown, dict)
        return shown

    def _learn(self, value: Plain) -> None:
        if isinstance(value, list):
            for element in value:
                self._learn(element)
        elif isinstance(value, dict):
            name, topic_id = value.get("name"), value.get("topic_id")
            if isinstance(name, str) and isinstance(topic_id, UUID):
                self.learn_topic(name, topic_id)
            for element in value.values():
                self._learn(element)

    def _value(self, name: str, value: Plain, own: bool) -> Plain:
        if isinstance(value, dict):
            return self._resource({key: self._value(key, element, own) for key, element in value.items()})
        if isinstance(value, list):
            return self._list(name, value, own)
        if value is None:
            return None
        if name in _TEXTS:
            return "<text>"
        if isinstance(value, UUID):
            return self._topic_id(value)
        if isinstance(value, bytes):
            # A topic name inside, with the two bytes of its length.
            return re.sub(f"(?s)..{re.escape(self._prefix)}", "@", value.decode("latin-1"))
        if isinstance(value, str):
            value = self._shorten(value)
        if name in self._rules:
            return self._rules[name](value)
        if name in _TIMES:
            return self._time(value)
        if name in _NODES:
            return "<node>" if value == self._node_id else value
        return value

    def _list(self, name: str, values: list[Plain], own: bool) -> Plain:
        if own:
            values = [value for value in values if not self._is_foreign(value)]
        shown = [self._value(name, value, own) for value in values]
        if name in _KEYED:
            keyed = sorted(((element.pop(_KEYED[name]), element) for element in shown), key=itemgetter(0))
            return {str(key): element for key, element in keyed}
        if name == "partitions" and all(isinstance(element, int) for element in shown):
            return sorted(shown)
        if name in {"batches", "records", "synonyms"} or not all(isinstance(element, dict) for element in shown):
            return shown
        return sorted(shown, key=_order)

    def _is_foreign(self, value: Plain) -> bool:
        if isinstance(value, dict) and "group_id" in value and "protocol_type" in value:
            return self._prefix not in value["group_id"]
        if isinstance(value, dict) and "transactional_id" in value and "producer_id" in value:
            return self._prefix not in value["transactional_id"]
        if not isinstance(value, dict) or ("topic_id" not in value and "partitions" not in value):
            return isinstance(value, dict) and value.get("resource_type") in _NAMED_RESOURCES and self._is_other(value)
        return self._is_other(value)

    def _is_other(self, value: dict[str, Plain]) -> bool:
        names = [value[key] for key in _TOPIC_NAMES if isinstance(value.get(key), str)]
        return bool(names) and not any(self._prefix in name for name in names)

    def _resource(self, value: dict[str, Plain]) -> dict[str, Plain]:
        if value.get("resource_type") in _BROKER_RESOURCES and value.get("resource_name") == str(self._node_id):
            value["resource_name"] = "<node>"
        return value

    def _shorten(self, text: str) -> str:
        shown = text.replace(self._prefix, "@")
        return shown if len(shown) <= 80 else f"{shown[:20]}... of {len(text)}"

    def _topic_id(self, topic_id: UUID) -> str:
        if topic_id.int < _LITERAL_IDS_END:
            return f"uuid {topic_id.int}"
        if topic_id not in self._ids:
            self._ids[topic_id] = f"unnamed id {len(self._ids) + 1}"
        return self._ids[topic_id]

    def _member(self, member_id: str) -> str:
        if not isinstance(member_id, str) or not _MADE_MEMBER_ID.fullmatch(member_id):
            return member_id
        return self._members.setdefault(member_id, f"member {len(self._members) + 1}")

    def _session(self, session_id: int) -> Plain:
        if session_id <= 0:
            return session_id
        if session_id not in self._sessions:
            self._sessions[session_id] = f"session {len(self._sessions) + 1}"
        return self._sessions[session_id]

    def _time(self, moment: int) -> Plain:
        if moment in self._moments:
            return f"now{self._moments[moment]:+}"
        if self._start_ms - 10_000 <= moment <= time.time() * 1000 + 10_000:
            return "<now>"
        return moment


def _order(element: dict[str, Plain]) -> tuple[str, ...]:
    """Sorts topics by name or id, partitions by number; what has neither keeps its place among equals."""
    text = [str(element.get(key)) for key in ("name", "topic", "topic_id", "resource_name", "topic_name", "key")]
    text += [str(element.get(key)) for key in ("group_id", "member_id")]
    numbers = [f"{element.get(key, 0):>10}" for key in ("partition_index", "index", "partition", "batch_index")]
    more = [str(element.get(key)) for key in ("error_code", "node_id", "producer_id")]
    return (*text, *numbers, *more)
