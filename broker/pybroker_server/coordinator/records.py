"""What coordinators write: a typed key, and a value or a tombstone, in Kafka's own formats.

Rules of this file: pure. The bytes of a key begin with its type, those of a value with its version, each an int16.
Types that this release does not know are skipped when a log is read (a newer release wrote them), as Kafka does.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Final, NamedTuple

from pybroker_protocol import messages
from pybroker_protocol.codec import decode, encoder
from pybroker_protocol.errors import ErrorCode, KafkaError, ProtocolError
from pybroker_protocol.schema.classes import Message

_INT16: Final = struct.Struct(">h")


class CoordinatorRecord(NamedTuple):
    """`version` is that of the value. `value` None is a tombstone: what stood under the key is gone."""

    key: Message
    value: Message | None
    version: int = 0


class RecordTypes:
    """The kinds of records of one internal topic, by key type."""

    def __init__(self, names: Sequence[str]) -> None:
        """`names` are the stems of message classes: `OffsetCommit` has `OffsetCommitKey` and `OffsetCommitValue`.

        The classes are made when they are first needed.
        """
        self._names = names

    @cached_property
    def _by_type(self) -> Mapping[int, tuple[type[Message], type[Message]]]:
        return {_type_of(key): (key, value) for key, value in (_classes(name) for name in self._names)}

    @cached_property
    def _type_of(self) -> Mapping[type[Message], int]:
        return {key: number for number, (key, _) in self._by_type.items()}

    def encode(self, record: CoordinatorRecord) -> tuple[bytes, bytes | None]:
        """Key and value as they are stored.

        Raises KafkaError UNKNOWN_SERVER_ERROR for what has no room in the format (a group id above 32 KB): Kafka's
        answer to it as well.
        """
        key = _encode(self._type_of[type(record.key)], record.key, 0)
        return key, None if record.value is None else _encode(record.version, record.value, record.version)

    def decode(self, key: bytes | None, value: bytes | None) -> CoordinatorRecord | None:
        """None for a type, or a version of a value, that is not known. Raises ProtocolError."""
        if key is None or len(key) < _INT16.size:
            raise ProtocolError("a coordinator record has no type")
        found = self._by_type.get(_INT16.unpack_from(key)[0])
        if found is None:
            return None
        key_class, value_class = found
        read_key, _ = decode(key_class, 0, memoryview(key), _INT16.size)
        if value is None:
            return CoordinatorRecord(read_key, None)
        if len(value) < _INT16.size:
            raise ProtocolError("a coordinator record's value has no version")
        version = _INT16.unpack_from(value)[0]
        if not value_class.schema.versions.holds(version):
            return None
        read_value, _ = decode(value_class, version, memoryview(value), _INT16.size)
        return CoordinatorRecord(read_key, read_value, version)


def _classes(name: str) -> tuple[type[Message], type[Message]]:
    return getattr(messages, f"{name}Key"), getattr(messages, f"{name}Value")


def _type_of(key_class: type[Message]) -> int:
    number = key_class.schema.key
    assert number is not None, key_class
    return number


def _encode(prefix: int, message: Message, version: int) -> bytes:
    out = bytearray(_INT16.pack(prefix))
    try:
        return bytes(encoder(message.__class__, version)(message, out, []))
    except struct.error as error:
        raise KafkaError(ErrorCode.UNKNOWN_SERVER_ERROR) from error
