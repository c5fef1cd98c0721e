"""The scenarios that come with the load generator, by name; each is a line of what it is for and its fields."""

from __future__ import annotations

from typing import Any, Final

from pybroker_bench.errors import EXIT_USAGE, BenchError

_MINUTE: Final = {"testDurationSeconds": 30, "warmupDurationSeconds": 5}

SCENARIOS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "throughput": (
        "produce and consume 100-byte records as fast as it goes",
        {"partitionsPerTopic": 4, "messageSize": 100, **_MINUTE},
    ),
    "latency": (
        "10,000 records of 1 KB a second, open loop: publish and end-to-end latency",
        {"partitionsPerTopic": 4, "messageSize": 1024, "producerRate": 10_000, **_MINUTE},
    ),
    "end-to-end": (
        "1,000 single small records a second from one producer to one consumer",
        {"messageSize": 100, "producerRate": 1_000, **_MINUTE},
    ),
    "fan-out": (
        "one producer, five subscriptions that each read everything",
        {"partitionsPerTopic": 4, "messageSize": 1024, "subscriptionsPerTopic": 5, "producerRate": 5_000, **_MINUTE},
    ),
    "fan-in": (
        "sixteen producers, one consumer",
        {"partitionsPerTopic": 8, "producersPerTopic": 16, "messageSize": 1024, "producerRate": 10_000, **_MINUTE},
    ),
    "many-partitions": (
        "1,000 partitions written in turn",
        {"partitionsPerTopic": 1_000, "messageSize": 1024, "producerRate": 5_000, **_MINUTE},
    ),
    "many-connections": (
        "latency while 5,000 other connections are open and silent",
        {"messageSize": 100, "producerRate": 1_000, "idleConnections": 5_000, **_MINUTE},
    ),
    "small-messages": (
        "one 100-byte record per batch, as fast as it goes",
        {"partitionsPerTopic": 4, "messageSize": 100, "batchMessages": 1, **_MINUTE},
    ),
    "keyed": (
        "records with keys, some keys far more often than others",
        {"partitionsPerTopic": 8, "keyDistributor": "ZIPF", "messageSize": 1024, "producerRate": 5_000, **_MINUTE},
    ),
    "mixed-sizes": (
        "many small records, some of 1 KB, few of 100 KB, compressed with zstd",
        {
            "partitionsPerTopic": 4,
            "messageSize": {100: 90, 1_000: 9, 100_000: 1},
            "compression": "zstd",
            "producerRate": 1_000,
            **_MINUTE,
        },
    ),
    "backlog": (
        "1 GB is written, dropped from the page cache, and read from the disk",
        {
            "partitionsPerTopic": 4,
            "messageSize": 1024,
            "consumerBacklogSizeGB": 1.0,
            "coldBacklog": True,
            "produceDuringTest": False,
        },
    ),
    "replay": (
        "one subscription reads what comes in while another reads everything from the start",
        {
            "partitionsPerTopic": 4,
            "messageSize": 1024,
            "producerRate": 5_000,
            "replaySubscriptions": 1,
            "consumerBacklogMessages": 200_000,
            **_MINUTE,
        },
    ),
    "rebalance": (
        "a group of four members, each of which leaves and comes back every eight seconds",
        {
            "partitionsPerTopic": 8,
            "consumerPerSubscription": 4,
            "consumerGroups": True,
            "rebalanceIntervalSeconds": 8,
            "messageSize": 1024,
            "producerRate": 5_000,
            **_MINUTE,
        },
    ),
    "broker-kill": (
        "the broker is killed with -9 under load and started again: nothing acknowledged may be missing",
        {"partitionsPerTopic": 4, "messageSize": 1024, "producerRate": 5_000, "killBrokerAfterSeconds": 10, **_MINUTE},
    ),
    "transactions": (
        "transactions of 100 records, a tenth of them aborted, read with read_committed",
        {
            "partitionsPerTopic": 4,
            "messageSize": 1024,
            "transactionMessages": 100,
            "transactionAbortRatio": 0.1,
            **_MINUTE,
        },
    ),
}


def fields_of(name: str) -> dict[str, Any]:
    """The fields of a built-in scenario. Raises BenchError for a name that is none."""
    found = SCENARIOS.get(name)
    if found is None:
        from difflib import get_close_matches

        close = get_close_matches(name, SCENARIOS, n=1)
        hint = f"did you mean {close[0]}?" if close else "`pybroker bench scenarios` lists them"
        raise BenchError(
            f"{name!r} is no built-in scenario, and no file of that name is there", hint=hint, code=EXIT_USAGE
        )
    return {"name": name, **found[1]}
