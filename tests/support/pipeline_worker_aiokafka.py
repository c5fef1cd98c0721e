"""The same worker as `pipeline_worker.py`, with aiokafka. It has partitions of its own and is a member of no group: the
library does not tell the broker of its membership, so nothing would fence it when the group has moved on.

    python -m tests.support.pipeline_worker_aiokafka BOOTSTRAP - WORKER SOURCE TARGETS
"""

from __future__ import annotations

import asyncio
import random
import sys
from typing import Any

import aiokafka
from tests.support.pipeline_worker import (
    ABORTED_SHARE,
    BATCH,
    GROUP,
    OWN_CONSUMER,
    OWN_PRODUCER,
    TIMEOUT_S,
    Tally,
    own_partitions,
)


async def work(bootstrap: str, name: str, source: str, targets: list[str], chance: random.Random) -> None:
    """Until it must be made anew, which ends what is open: raises KafkaError or TimeoutError."""
    tally = Tally()
    producer = aiokafka.AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=name, **OWN_PRODUCER)
    consumer = aiokafka.AIOKafkaConsumer(bootstrap_servers=bootstrap, **OWN_CONSUMER)
    try:
        # First the producer: it ends what its last life left open, so that the positions are known.
        await producer.start()
        await consumer.start()
        consumer.assign([aiokafka.TopicPartition(source, number) for number in own_partitions(name)])
        while True:
            found = await consumer.getmany(timeout_ms=200, max_records=BATCH)
            if found:
                async with asyncio.timeout(TIMEOUT_S):
                    aborts = chance.random() < ABORTED_SHARE
                    await _copy(producer, found, targets, aborts=aborts)
                if aborts:
                    return
                tally.add()
    finally:
        await consumer.stop()
        await producer.stop()


async def _copy(producer: Any, found: dict[Any, list[Any]], targets: list[str], *, aborts: bool) -> None:
    await producer.begin_transaction()
    sent = [
        await producer.send(target, record.value, partition=where.partition)
        for where, records in found.items()
        for record in records
        for target in targets
    ]
    await asyncio.gather(*sent)
    following = {where: records[-1].offset + 1 for where, records in found.items()}
    await producer.send_offsets_to_transaction(following, GROUP)
    await (producer.abort_transaction() if aborts else producer.commit_transaction())


def main(bootstrap: str, protocol: str, name: str, source: str, targets: str) -> None:
    chance = random.Random(name)
    while True:
        try:
            asyncio.run(work(bootstrap, name, source, targets.split(","), chance))
        except (aiokafka.errors.KafkaError, TimeoutError) as failure:
            print("begins anew:", repr(failure), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
