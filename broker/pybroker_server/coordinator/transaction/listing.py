"""Which transactional ids ListTransactions shows (KIP-664, KIP-994, KIP-1152).

Rules of this file: pure.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

from pybroker_server.coordinator.transaction.transaction import STATES_BY_LABEL, State, Transaction


class Listed(NamedTuple):
    transactional_id: str
    producer_id: int
    state: State

    @classmethod
    def of(cls, transaction: Transaction) -> Listed:
        return cls(transaction.transactional_id, transaction.producer_id, transaction.state)


class TransactionFilter:
    """Empty filters let everything through; a transaction must pass all of them."""

    def __init__(
        self, states: Collection[str], producer_ids: Collection[int], longer_than_ms: int, pattern: Any | None
    ) -> None:
        """`longer_than_ms` below 0 is none. `pattern` is a compiled RE2 expression for whole ids."""
        self.unknown_states = [label for label in dict.fromkeys(states) if label not in STATES_BY_LABEL]
        self._by_state = bool(states)
        self._states = {STATES_BY_LABEL[label] for label in states if label in STATES_BY_LABEL}
        self._producer_ids = frozenset(producer_ids)
        self._longer_than_ms = longer_than_ms
        self._pattern = pattern

    def takes(self, transaction: Transaction, now_ms: int) -> bool:
        if self._producer_ids and transaction.producer_id not in self._producer_ids:
            return False
        if self._by_state and transaction.state not in self._states:
            return False
        if self._longer_than_ms >= 0 and now_ms - transaction.start_ms <= self._longer_than_ms:
            return False
        return self._pattern is None or self._pattern.fullmatch(transaction.transactional_id) is not None
