"""The same worker as `pipeline_worker.py`, with kafka-python. It has partitions of its own and is a member of no group.

python -m tests.support.pipeline_worker_kafka_python BOOTSTRAP - WORKER SOURCE TARGETS
"""

from __future__ import annotations

import random
import sys

import kafka
from kafka.structs import OffsetAndMetadata
from tests.support.pipeline_worker import (
    ABORTED_SHARE,
    BATCH,
    GROUP,
    OWN_CONSUMER,
    OWN_PRODUCER,
    TIMEOUT_S,
    Tally,
    Watchdog,
    own_partitions,
)


def work(watchdog: Watchdog, bootstrap: str, name: str, source: str, targets: list[str], chance: random.Random) -> None:
    """Until it must be made anew, which ends what is open: raises KafkaError."""
    tally = Tally()
    # First the producer: it ends what its last life left open, so that the positions are known.
    producer = kafka.KafkaProducer(bootstrap_servers=bootstrap, transactional_id=name, linger_ms=0, **OWN_PRODUCER)
    consumer = kafka.KafkaConsumer(bootstrap_servers=bootstrap, **OWN_CONSUMER)
    try:
        with watchdog:
            producer.init_transactions()
        consumer.assign([kafka.TopicPartition(source, number) for number in own_partitions(name)])
        while True:
            found = consumer.poll(200, max_records=BATCH)
            if not found:
                continue
            with watchdog:
                producer.begin_transaction()
                sent = [
                    producer.send(target, record.value, partition=where.partition)
                    for where, records in found.items()
                    for record in records
                    for target in targets
                ]
                for future in sent:
                    future.get(TIMEOUT_S)
                following = {
                    where: OffsetAndMetadata(records[-1].offset + 1, "", -1) for where, records in found.items()
                }
                producer.send_offsets_to_transaction(following, GROUP)
                if chance.random() < ABORTED_SHARE:
                    producer.abort_transaction()
                    return
                producer.commit_transaction()
                tally.add()
    finally:
        consumer.close(autocommit=False)
        producer.close(timeout=1)


def main(bootstrap: str, protocol: str, name: str, source: str, targets: str) -> None:
    chance, watchdog = random.Random(name), Watchdog("tests.support.pipeline_worker_kafka_python")
    while True:
        try:
            work(watchdog, bootstrap, name, source, targets.split(","), chance)
        except kafka.errors.KafkaError as failure:
            print("begins anew:", repr(failure), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
