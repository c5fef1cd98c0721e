"""A record as consumers get it.

Rules: a tuple made in one step, because there are millions of them. Keys, values and headers are decoded when they are
looked at, so a record that nobody looks into costs nothing and one that cannot be decoded fails where it is used.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Protocol

from pybroker.codecs import Codec
from pybroker.errors import CorruptData, DecodeFailed
from pybroker.metadata import TopicPartition
from pybroker_protocol.errors import ProtocolError
from pybroker_protocol.records.record import Header, RecordFields, decode_headers

__all__ = ["Origin", "RawRecord", "Record", "Replier"]


class Replier(Protocol):
    """What sends replies: the client that the record came by."""

    async def reply(self, record: Record, value: bytes | None, key: Any, headers: Any) -> None: ...


@dataclass(slots=True)
class Origin:
    """What the records of a batch share."""

    topic: str
    partition: int
    leader_epoch: int
    is_append_time: bool
    key_codec: Codec[Any]
    value_codec: Codec[Any]
    replier: Replier | None = None


class Record(RecordFields):
    """`offset`, `timestamp_ms`, `key`, `value` and `headers`, and where they are from."""

    __slots__ = ()

    @property
    def topic(self) -> str:
        topic: str = self.source.topic
        return topic

    @property
    def partition(self) -> int:
        partition: int = self.source.partition
        return partition

    @property
    def topic_partition(self) -> TopicPartition:
        return TopicPartition(self.source.topic, self.source.partition)

    @property
    def leader_epoch(self) -> int:
        epoch: int = self.source.leader_epoch
        return epoch

    @property
    def timestamp(self) -> datetime:
        """When the producer made the record, or the broker took it where the topic says so."""
        return datetime.fromtimestamp(self.timestamp_ms / 1000, UTC)

    @property
    def key(self) -> Any:
        """The key, decoded; None without one. Raises `DecodeFailed`."""
        return None if self.raw_key is None else self._decoded("key", self.source.key_codec, self.raw_key)

    @property
    def value(self) -> Any:
        """The value, decoded; None for a tombstone. Raises `DecodeFailed`."""
        return None if self.raw_value is None else self._decoded("value", self.source.value_codec, self.raw_value)

    @property
    def headers(self) -> list[Header]:
        """(name, value) in the order in which they were sent; names may repeat."""
        try:
            return decode_headers(self.raw_headers)
        except ProtocolError as error:
            raise CorruptData(f"{self.topic_partition} at offset {self.offset}: {error}") from None

    def header(self, name: str) -> bytes | None:
        """The last value of this name, None when there is none."""
        return next((value for found, value in reversed(self.headers) if found == name), None)

    async def reply(self, value: Any, *, key: bytes | str | None = None, headers: Any = None) -> None:
        """Answer a request (`Client.request`, or Spring's): to the topic and partition that it names, with its
        correlation id. The value is encoded by the consumer's codec. Returns when the reply is written.

        Raises `Rejected` for a record that asks for no reply.
        """
        if self.source.replier is None:
            raise TypeError("only records that came from a consumer can be replied to")
        data = None if value is None else self.source.value_codec.encode(value)
        await self.source.replier.reply(self, data, key, headers)

    def decoded_by(self, value_codec: Codec[Any]) -> Record:
        """The same record, its value read by another codec."""
        return Record(replace(self.source, value_codec=value_codec), *self[1:])

    def _decoded(self, what: str, codec: Codec[Any], data: bytes) -> Any:
        try:
            return codec.decode(data)
        except Exception as error:
            raise DecodeFailed(
                f"the {what} of the record at {self.topic_partition} offset {self.offset} cannot be decoded:"
                f" {type(error).__name__}: {error}"
            ) from error

    def __repr__(self) -> str:
        return (
            f"Record({self.source.topic}-{self.source.partition}@{self.offset},"
            f" key={self.raw_key!r}, value={_short(self.raw_value)})"
        )


class RawRecord(Record):
    """With bytes as keys and values nothing is to be decoded."""

    __slots__ = ()
    key = RecordFields.raw_key
    value = RecordFields.raw_value


def _short(data: bytes | None) -> str:
    return repr(data) if data is None or len(data) <= 60 else f"{data[:60]!r}... {len(data)} bytes"
