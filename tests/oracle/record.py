"""Records what a real Apache Kafka 4.3 answers to the catalogue: `python -m tests.oracle.record --bootstrap HOST:PORT`.

Everything is played twice and must be answered the same; what is not is named and nothing is written. KAFKA_SETTINGS
are the broker settings that the recording needs beside Kafka's defaults; the node must be alone in its cluster.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from typing import Any, Final

from tests.oracle import store
from tests.oracle.catalogue import PARTS
from tests.oracle.cluster import PARTS as CLUSTER_PARTS
from tests.oracle.cluster import ClusterPlayer
from tests.oracle.compare import differences
from tests.oracle.exchange import Call, Exchange
from tests.oracle.runner import Player, Result

KAFKA_SETTINGS: Final[dict[str, str]] = {"group.initial.rebalance.delay.ms": "0"}
"""Kafka's own defaults are the ones to be compatible with; but nobody wants to wait three seconds for every group."""

CLUSTER_SETTINGS: Final[dict[str, str]] = {**KAFKA_SETTINGS, "default.replication.factor": "3"}
"""What three brokers need for theirs."""

_COORDINATOR_WARM_UP_S: Final = 30.0


class NotDeterministic(Exception):
    """Kafka answered the same exchange differently: the exchange or the normaliser must be mended."""


def record(bootstrap: str, parts: list[str] | None = None) -> int:
    """Records these parts of the catalogue (default: all); returns the number of exchanges."""
    player = Player(bootstrap)
    _warm_up(player)
    count = 0
    for part in parts or list(PARTS):
        started = time.monotonic()
        answers = {exchange.name: _play_twice(player, exchange) for exchange in PARTS[part]}
        store.save(part, answers)
        count += len(answers)
        print(f"{part}: {len(answers)} exchanges in {time.monotonic() - started:.1f} s", flush=True)
    return count


def record_cluster(bootstrap: str, parts: list[str] | None = None) -> int:
    """The same for three brokers with the node ids 1, 2 and 3; `bootstrap` is that of the first."""
    player = ClusterPlayer(bootstrap)
    count = 0
    for part in parts or list(CLUSTER_PARTS):
        answers = {exchange.name: _play_twice(player, exchange) for exchange in CLUSTER_PARTS[part]}
        store.save(part, answers)
        count += len(answers)
        print(f"{part}: {len(answers)} exchanges", flush=True)
    return count


def _play_twice(player: Player, exchange: Exchange) -> list[Result]:
    first, second = player.play(exchange), player.play(exchange)
    found = differences(first, second)
    if found:
        lines = "\n".join(f"  {difference}" for difference in found)
        raise NotDeterministic(f"{exchange.name} was answered in two ways:\n{lines}")
    return first


def _warm_up(player: Player) -> None:
    """Kafka makes its coordinator topics when first asked for a coordinator: ask until it has them."""
    asked: dict[str, Any] = {"key_type": 0, "coordinator_keys": ["warm-up"]}
    deadline = time.monotonic() + _COORDINATOR_WARM_UP_S
    for key_type in (0, 1):
        call = Call("FindCoordinator", 4, {**asked, "key_type": key_type}, until={"coordinators.0.error_code": 0})
        while player.play(Exchange("warm-up", (call,)))[0]["answer"]["coordinators"][0]["error_code"] != 0:
            if time.monotonic() > deadline:
                raise TimeoutError("Kafka's coordinators did not get ready")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bootstrap", default=os.environ.get("KAFKA_BOOTSTRAP"), help="HOST:PORT of Kafka 4.3")
    parser.add_argument("--cluster", action="store_true", help="it is the first of three: record what needs three")
    parser.add_argument("parts", nargs="*", help=f"default: all of {', '.join(PARTS)}")
    arguments = parser.parse_args()
    if not arguments.bootstrap:
        parser.error("give --bootstrap HOST:PORT or set KAFKA_BOOTSTRAP")
    try:
        count = (record_cluster if arguments.cluster else record)(arguments.bootstrap, arguments.parts)
    except NotDeterministic as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{count} exchanges recorded")
    return 0


if __name__ == "__main__":
    sys.exit(main())
