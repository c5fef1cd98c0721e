"""A member of a group in a process of its own, to be killed: `python -m tests.support.member_process KIND ...`.

It reads, writes the number of each record into its file, and only then commits, record by record or by the list.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterable

SESSION_MS = 1_500
HEARTBEAT_MS = 200


class Diary:
    """Numbers of processed records; what is written stays, though the process is killed."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(self, values: Iterable[bytes]) -> None:
        os.write(self._file, b"".join(value + b"\n" for value in values))


def confluent(bootstrap: str, topic: str, group: str, diary: Diary, **settings: str | int) -> None:
    import confluent_kafka

    consumer = confluent_kafka.Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            **settings,
        }
    )
    consumer.subscribe([topic])
    while True:
        messages = [message for message in consumer.consume(50, 0.1) if message.error() is None]
        if messages:
            diary.write(message.value() for message in messages)
            try:
                consumer.commit(asynchronous=False)
            except confluent_kafka.KafkaException as error:
                if not error.args[0].retriable() and error.args[0].code() not in _MOVED_ON:
                    raise


_MOVED_ON = {16, 22, 25, 27, 82, 110, 113, -168, -142, -150}
"""The group has gone on without this member, or its coordinator moves: what was not committed comes again."""


async def aio(bootstrap: str, topic: str, group: str, diary: Diary) -> None:
    import aiokafka
    import aiokafka.errors

    consumer = aiokafka.AIOKafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        session_timeout_ms=SESSION_MS,
        heartbeat_interval_ms=HEARTBEAT_MS,
    )
    await consumer.start()
    while True:
        found = await consumer.getmany(timeout_ms=100, max_records=50)
        messages = [message for listed in found.values() for message in listed]
        if messages:
            diary.write(message.value for message in messages)
            try:
                await consumer.commit()
            except aiokafka.errors.CommitFailedError:
                pass


def kafka_python(bootstrap: str, topic: str, group: str, diary: Diary) -> None:
    import kafka
    import kafka.errors

    consumer = kafka.KafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        session_timeout_ms=SESSION_MS,
        heartbeat_interval_ms=HEARTBEAT_MS,
    )
    while True:
        found = consumer.poll(timeout_ms=100, max_records=50)
        messages = [message for listed in found.values() for message in listed]
        if messages:
            diary.write(message.value for message in messages)
            try:
                consumer.commit()
            except kafka.errors.CommitFailedError:
                pass


CLASSIC: dict[str, str | int] = {"session.timeout.ms": SESSION_MS, "heartbeat.interval.ms": HEARTBEAT_MS}
KINDS = ("eager", "cooperative", "consumer", "aiokafka", "kafka-python")


def main(kind: str, bootstrap: str, topic: str, group: str, path: str) -> None:
    diary = Diary(path)
    match kind:
        case "eager":
            confluent(bootstrap, topic, group, diary, **CLASSIC)
        case "cooperative":
            confluent(
                bootstrap, topic, group, diary, **CLASSIC, **{"partition.assignment.strategy": "cooperative-sticky"}
            )
        case "consumer":
            confluent(bootstrap, topic, group, diary, **{"group.protocol": "consumer"})
        case "aiokafka":
            asyncio.run(aio(bootstrap, topic, group, diary))
        case "kafka-python":
            kafka_python(bootstrap, topic, group, diary)
        case _:
            sys.exit(f"no kind {kind}")


if __name__ == "__main__":
    main(*sys.argv[1:])
