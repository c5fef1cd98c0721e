"""How handlers ask a coordinator: a pending response per question, several questions gathered into one response.

Rules of this file: no knowledge of groups or transactions. Coordinators answer exactly once, whatever happens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_server.coordinator.effects import Reply
from pybroker_server.coordinator.group.context import Client
from pybroker_server.coordinator.host import Ask, CoordinatorHost
from pybroker_server.coordinator.state import CoordinatorState
from pybroker_server.handlers.request import Pending, RequestContext

S = TypeVar("S", bound=CoordinatorState)
R = TypeVar("R")
T = TypeVar("T")


def ask(coordinator: CoordinatorHost[S], key: str, question: Ask[S, R], refuse: Callable[[ErrorCode], R]) -> Pending[R]:
    """Asks the coordinator of `key`. `refuse` makes the response for an error."""
    pending: Pending[R] = Pending()
    coordinator.run(key, question, Reply(pending.complete, refuse))
    return pending


def client_of(context: RequestContext) -> Client:
    """Who sent the request, as group descriptions show it."""
    return Client(context.client_id, f"/{context.connection.peer_host}")


class Gather(Generic[T, R]):
    """Collects the answers to several questions of one request, in the order in which they were asked."""

    def __init__(self, finish: Callable[[Sequence[T]], R]) -> None:
        """`finish` makes the response from all answers."""
        self.pending: Pending[R] = Pending()
        self._finish = finish
        self._answers: dict[int, T] = {}
        self._asked = 0
        self._is_sealed = False

    def reply(self, refuse: Callable[[ErrorCode], T], explain: Callable[[KafkaError], T] | None = None) -> Reply[T]:
        """Where the next question is to be answered."""
        number = self._asked
        self._asked += 1

        def complete(answer: T) -> None:
            self._answers[number] = answer
            self._check()

        return Reply(complete, refuse, explain)

    def seal(self) -> Pending[R]:
        """After the last question: the response that comes when all are answered."""
        self._is_sealed = True
        self._check()
        return self.pending

    def _check(self) -> None:
        if self._is_sealed and len(self._answers) == self._asked:
            self.pending.complete(self._finish([self._answers[number] for number in range(self._asked)]))
