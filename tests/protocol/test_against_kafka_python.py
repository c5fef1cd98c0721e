"""Our bytes judged by an independent implementation: kafka-python reads what we write, and we read what it writes.

kafka-python compiles its codec from Kafka's own definitions and names fields and structures as we do, so messages can
be carried over field by field.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import kafka.protocol
import pytest
from kafka.protocol.api_message import ApiMessage
from tests.support.schema_values import SAMPLES, message_versions, sample

from pybroker_protocol import messages
from pybroker_protocol.codec import encode
from pybroker_protocol.messages import ApiVersionsResponse
from pybroker_protocol.schema.classes import Message


def find_theirs() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for module in pkgutil.walk_packages(kafka.protocol.__path__, "kafka.protocol."):
        if ".old" in module.name or "generate" in module.name:
            continue
        members = vars(importlib.import_module(module.name)).items()
        found |= {name: value for name, value in members if name in OURS and issubclass(value, ApiMessage)}
    return found


OURS = set(messages.message_names())
THEIRS = find_theirs()
PAIRS = [(name, version) for name, version in message_versions() if name in THEIRS]
PAIRS = [(name, version) for name, version in PAIRS if version <= THEIRS[name].max_version]


OPERATIONS = "authorized_operations"
"""kafka-python's name for any field of operation bits, which it holds as a set of bit numbers, None for "not asked"."""

NOT_ASKED = -(2**31)


def carried(ours: Message, their_class: Any, version: int) -> Any:
    """Our message as one of theirs, without tagged fields at their default: kafka-python sends what it is given."""
    values = {}
    for field in ours.struct.fields:
        value = getattr(ours, field.name)
        if not field.versions.holds(version) or (field.tag is not None and not value):
            continue
        if field.name in their_class.fields and field.name != OPERATIONS:
            values[field.name] = _carried_value(value, their_class, version)
        else:
            values[OPERATIONS] = _bits(value)
    return their_class(version=version, **values)


def _carried_value(value: object, their_class: Any, version: int) -> object:
    if isinstance(value, Message):
        return carried(value, getattr(their_class, type(value).__name__), version)
    if isinstance(value, list):
        return [_carried_value(item, their_class, version) for item in value]
    return bytes(value) if isinstance(value, memoryview) else value


def _bits(operations: int) -> set[int] | None:
    return None if operations == NOT_ASKED else {bit for bit in range(32) if operations >> bit & 1}


def same(ours: object, theirs: Any, version: int) -> bool:
    """Whether a value of ours and one of theirs say the same in all that this version has."""
    if isinstance(ours, Message):
        present = (field.name for field in ours.struct.fields if field.versions.holds(version))
        return all(_same_field(getattr(ours, name), theirs, name, version) for name in present)
    if isinstance(ours, list):
        pairs = zip(ours, theirs, strict=True)
        return all(same(our_item, their_item, version) for our_item, their_item in pairs)
    if isinstance(ours, memoryview):
        return bool(bytes(ours) == theirs)
    return bool(ours == theirs)


def _same_field(ours: Any, theirs: Any, name: str, version: int) -> bool:
    if name in theirs.fields and name != OPERATIONS:
        return same(ours, getattr(theirs, name), version)
    return bool(_bits(ours) == getattr(theirs, OPERATIONS))


def test_most_messages_can_be_compared() -> None:
    assert len(PAIRS) > 350


@pytest.mark.parametrize("kind", SAMPLES)
@pytest.mark.parametrize("name", sorted(THEIRS))
def test_both_write_the_same_bytes_and_read_them_alike(name: str, kind: str) -> None:
    our_class, their_class = getattr(messages, name), THEIRS[name]
    for version in [version for other, version in PAIRS if other == name]:
        message = sample(our_class, version, kind)
        wire = b"".join(encode(message, version))
        theirs = carried(message, their_class, version)
        assert theirs.encode(version=version) == wire, (name, version)
        if isinstance(message, ApiVersionsResponse) and version > 0 and message.error_code:
            continue  # kafka-python reads any refusal as version 0
        assert same(message, their_class.decode(wire, version=version), version), (name, version)
