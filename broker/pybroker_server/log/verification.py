"""Proof that a producer's transaction is open at its coordinator, for the first write to a partition (KIP-890).

Rules of this file: pure state of one partition, in memory only. Before the first batch of a transaction is appended
its coordinator is asked. A `Verification` stands for that question: `begin` before it, `check` in the moment of the
append. Whatever is written for the producer in that transaction meanwhile, its end above all, forgets the question, so
an answer that comes late allows nothing: a write that was delayed past the end of its transaction opens no other one.
"""

from __future__ import annotations

from pybroker_protocol.errors import ErrorCode, KafkaError


class Verification:
    """A question to the coordinator of one producer's transaction; who holds it may append once it was answered."""

    __slots__ = ("adds", "begun_ms", "epoch", "lowest_sequence")

    def __init__(self, epoch: int, sequence: int, begun_ms: int, *, adds: bool) -> None:
        self.epoch = epoch
        self.lowest_sequence = sequence
        """The first of the producer's batches that wait: none behind it may be written before it."""
        self.begun_ms = begun_ms
        self.adds = adds
        """The partition is added to the transaction by the question (transaction version 2)."""


class Verifications:
    """Those of one partition, by producer id."""

    __slots__ = ("_by_producer",)

    def __init__(self) -> None:
        self._by_producer: dict[int, Verification] = {}

    def __len__(self) -> int:
        return len(self._by_producer)

    def begin(self, producer_id: int, epoch: int, sequence: int, now_ms: int, *, adds: bool) -> Verification:
        """The question for this producer: the one that is out already, or a new one. Coordinators' sequence is -1."""
        known = self._by_producer.get(producer_id)
        if known is None:
            known = self._by_producer[producer_id] = Verification(epoch, sequence, now_ms, adds=adds)
        elif epoch > known.epoch:
            known.epoch, known.lowest_sequence, known.adds = epoch, sequence, adds
        elif epoch == known.epoch:
            known.lowest_sequence = min(known.lowest_sequence, sequence)
        return known

    def get(self, producer_id: int) -> Verification | None:
        """The question that is out, if any."""
        return self._by_producer.get(producer_id)

    def check(self, producer_id: int, held: Verification | None) -> None:
        """Raises KafkaError INVALID_TXN_STATE when `held` is not the question that is out."""
        if held is None or self._by_producer.get(producer_id) is not held:
            raise KafkaError(
                ErrorCode.INVALID_TXN_STATE, f"producer {producer_id} has no transaction open in this partition"
            )

    def forget(self, producer_id: int) -> None:
        """Something of a transaction of this producer is in the log now."""
        self._by_producer.pop(producer_id, None)

    def forget_ended(self, producer_id: int, marker_epoch: int) -> None:
        """A marker is in the log: what was asked about the transaction that it ends allows nothing any more.

        With transaction version 2 the marker has the epoch of the transaction that follows, whose first question may
        be out already: its producer was told of the end before the markers were written. That question stays.
        """
        known = self._by_producer.get(producer_id)
        if known is not None and not (known.adds and known.epoch >= marker_epoch):
            del self._by_producer[producer_id]

    def remove_expired(self, now_ms: int, expiration_ms: int) -> None:
        """Drops questions whose write never came."""
        expired = [
            producer_id for producer_id, each in self._by_producer.items() if now_ms - each.begun_ms >= expiration_ms
        ]
        for producer_id in expired:
            del self._by_producer[producer_id]

    def clear(self) -> None:
        self._by_producer.clear()
