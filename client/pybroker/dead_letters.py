"""Retries, and where records go that no attempt could handle.

Rules: a dead letter is the record as it was (key, value, headers), with headers that tell where it came from and why it
is there. Their names and their form (text, numbers in decimal) are those of Kafka's own dead-letter topics (KIP-1191),
where Kafka has one; a dead letter that dies again keeps the headers of its first death in front of those of the last.
It goes to the partition of its origin's number, modulo the partitions of the dead-letter topic, as Kafka does it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from pybroker.client import Client
from pybroker.producer import Producer
from pybroker.record import Record
from pybroker.retry import Backoff

__all__ = ["DeadLetters", "Retry", "dead_letter_headers"]

PREFIX: Final = "__dlq.errors."
_TEXT_BYTES_MAX: Final = 4096


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a handler is tried, and for what errors. `attempts` counts the first one; `first` and `most` are
    seconds: the wait before the second attempt, and the longest, doubling in between, with jitter."""

    attempts: int = 3
    first: float = 0.1
    most: float = 10.0
    on: tuple[type[Exception], ...] = (Exception,)

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"attempts={self.attempts}: at least one")

    def delay(self, attempt: int, error: Exception, chance: float) -> float | None:
        """Seconds to wait after the `attempt`-th failure; None when there is no other attempt."""
        if attempt >= self.attempts or not isinstance(error, self.on):
            return None
        return Backoff(self.first, self.most).delay(attempt, chance)


def dead_letter_headers(
    record: Record, error: Exception, attempts: int, group: str | None
) -> list[tuple[str, bytes | str | None]]:
    """The headers of the record's dead letter."""
    told = {
        "topic": record.topic,
        "partition": str(record.partition),
        "offset": str(record.offset),
        "timestamp": str(record.timestamp_ms),
        "group": group or "",
        "delivery.count": str(attempts),
        "message": str(error)[:_TEXT_BYTES_MAX],
        "exception": f"{type(error).__module__}.{type(error).__qualname__}",
    }
    return [*record.headers, *((PREFIX + name, text) for name, text in told.items())]


class DeadLetters:
    """Writes to one dead-letter topic; its producer is opened when the first record dies."""

    def __init__(self, client: Client, topic: str, group: str | None) -> None:
        self.topic = topic
        self._client = client
        self._group = group
        self._producer: Producer[Any, Any] | None = None

    async def send(self, record: Record, error: Exception, attempts: int) -> None:
        """Returns when it is written. Raises `KafkaError`."""
        if self._producer is None:
            self._producer = Producer(client=self._client)
            await self._producer.__aenter__()
        producer = self._producer
        await producer.prepare(self.topic)
        view = self._client.cluster.topic(self.topic)
        count = len(view.partitions) if view is not None else 0
        await producer.send(
            self.topic,
            record.raw_value,
            key=record.raw_key,
            headers=dead_letter_headers(record, error, attempts, self._group),
            partition=record.partition % count if count else None,
        )

    async def close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.close()
