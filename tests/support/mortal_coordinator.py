"""A broker that dies, as by kill -9, at one step of ending a transaction: `DIE_AT` names the step.

`python -m tests.support.mortal_coordinator serve ...`; without `DIE_AT` it is the broker as it is. With `DIE_ONCE`, the
name of a file, only one of the brokers that come to that step dies: the one that finds the file, and removes it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

from pybroker_server.__main__ import main
from pybroker_server.coordinator.transaction.markers import MarkerQueue
from pybroker_server.coordinator.transaction.shard import TransactionShard
from pybroker_server.replica.partition import Partition

BEFORE_MARKERS = "before-markers"
BETWEEN_MARKERS = "between-markers"
BEFORE_COMPLETION = "before-completion"
STEPS = (BEFORE_MARKERS, BETWEEN_MARKERS, BEFORE_COMPLETION)


def _dying_at(step: Callable[..., Any]) -> Callable[..., Any]:
    def perhaps(*arguments: Any, **named: Any) -> Any:
        _perhaps_die()
        return step(*arguments, **named)

    return perhaps


def _perhaps_die() -> None:
    once = os.environ.get("DIE_ONCE")
    if once is not None:
        try:
            os.unlink(once)
        except FileNotFoundError:
            return
    os.kill(os.getpid(), signal.SIGKILL)


def _dying_at_second(append: Callable[..., Any]) -> Callable[..., Any]:
    calls = [0]

    def counted(*arguments: Any, **named: Any) -> Any:
        if named.get("transaction_version"):
            calls[0] += 1
            if calls[0] == 2:
                _perhaps_die()
        return append(*arguments, **named)

    return counted


def prepare(step: str | None) -> None:
    if step == BEFORE_MARKERS:
        MarkerQueue.send = _dying_at(MarkerQueue.send)  # type: ignore[method-assign]
    elif step == BETWEEN_MARKERS:
        Partition.append = _dying_at_second(Partition.append)  # type: ignore[method-assign]
    elif step == BEFORE_COMPLETION:
        TransactionShard._complete = _dying_at(TransactionShard._complete)  # type: ignore[method-assign]


if __name__ == "__main__":
    prepare(os.environ.get("DIE_AT"))
    main()
