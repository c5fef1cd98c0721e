"""The command txn and what it stands on in the admin, against a broker process and transactions of the SDK."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.broker_process import running_broker
from tests.support.cli import Run, refused
from tests.support.sdk import TIME_LIMIT_S, a_name, new_topic

from pybroker import Admin, Consumer, Producer, TopicPartition
from pybroker.errors import Fenced, NotFound
from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.messages import InitProducerIdRequest, ProduceRequest
from pybroker_protocol.records.builder import RecordBatchBuilder


@pytest.fixture
async def admin(bootstrap: str) -> AsyncIterator[Admin]:
    async with asyncio.timeout(TIME_LIMIT_S), Admin(bootstrap) as admin:
        yield admin


async def test_a_transaction_under_way_is_seen_and_aborted(bootstrap: str, admin: Admin, pybroker: Run) -> None:
    topic, name = await new_topic(bootstrap, 2), a_name("tx")
    async with asyncio.timeout(TIME_LIMIT_S), Producer(bootstrap, transactional_id=name) as producer:
        with pytest.raises(Fenced):
            async with producer.transaction() as tx:
                await (await tx.send(topic, b"undone", partition=1))
                info = await admin.transaction(name)
                assert (info.state, info.is_open, info.timeout_ms) == ("Ongoing", True, 60_000)
                assert info.partitions == (TopicPartition(topic, 1),)
                assert info.started is not None
                (known,) = (await admin.producers([(topic, 1)]))[TopicPartition(topic, 1)]
                assert (known.producer_id, known.start_offset) == (info.producer_id, 0)
                assert (await admin.producers([(topic, 0)])) == {TopicPartition(topic, 0): []}
                await asyncio.to_thread(_look_and_abort, pybroker, topic, name)
    assert not (await admin.transaction(name)).is_open
    with pytest.raises(NotFound):
        await admin.transaction(a_name("tx"))


def _look_and_abort(pybroker: Run, topic: str, name: str) -> None:
    heading, *rows = pybroker("txn", "list", "--state", "Ongoing").rows
    assert heading == ["TRANSACTIONAL ID", "STATE", "PRODUCER ID", "COORDINATOR"]
    assert [name, "Ongoing"] in [row[:2] for row in rows]
    assert name not in pybroker("txn", "list", "--open-for", "1h").out
    (described,) = json.loads(pybroker("txn", "describe", name, "-o", "json").out)
    assert (described["state"], described["writes_to"], described["timeout_ms"]) == ("Ongoing", f"{topic}:1", 60_000)
    assert described["open_s"] >= 0
    assert pybroker("txn", "hanging", topic, "--older-than", "0s").rows[1:] == [], "it has a coordinator"
    plan = pybroker("txn", "abort", name, stdin=b"n\n")
    assert f"{name}: Ongoing, {topic}:1" in plan.err
    assert plan.code != 0
    assert pybroker("txn", "abort", name, stdin=b"y\n").out == f"aborted and fenced {name}\n"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["describe", "nobody"], 4, "`pybroker txn list` shows them"),
        (["abort", "nobody", "-y"], 4, "there is no transactional id nobody"),
        (["abort"], 2, "one of them"),
        (["abort", "t", "--hanging", "t:0"], 2, "one of them"),
        (["hanging", "no-such-topic"], 4, "there is no topic"),
        (["hanging", "--older-than", "long"], 2, "'long' is no duration"),
        (["hanging", "t:x"], 2, "no partition and no range"),
        (["list", "--state", "Sleeping"], 2, "'Sleeping' is not one of"),
    ],
)
def test_txn_refuses_in_words(pybroker: Run, arguments: list[str], code: int, says: str) -> None:
    refused(pybroker("txn", *arguments), code, says)


async def ghost(admin: Admin, topic: str) -> None:
    """A record in a transaction that no coordinator knows of."""
    client = admin.client
    answer = await client.ask_any(
        ApiKey.INIT_PRODUCER_ID, InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=1_000)
    )
    batch = RecordBatchBuilder(is_transactional=True)
    batch.append(1_700_000_000_000, None, b"haunting", None)
    data = batch.build(producer_id=answer.producer_id, producer_epoch=0, base_sequence=0)
    request = ProduceRequest(
        transactional_id="nobody's",
        acks=-1,
        timeout_ms=10_000,
        topic_data=[
            ProduceRequest.TopicProduceData(
                name=topic, partition_data=[ProduceRequest.PartitionProduceData(index=0, records=memoryview(data))]
            )
        ],
    )
    connection = await client.pool.any()
    response = await connection.request(request, 11, 10.0)
    assert response.responses[0].partition_responses[0].error_code == 0


async def test_what_hangs_is_found_and_ended(tmp_path: Path, pybroker: Run) -> None:
    settings = {"transaction.partition.verification.enable": "false"}
    with running_broker(tmp_path / "data", settings) as broker:
        topic = await new_topic(broker.bootstrap)
        async with asyncio.timeout(TIME_LIMIT_S), Admin(broker.bootstrap) as admin:
            await ghost(admin, topic)
            (found,) = await admin.hanging_transactions(older_than=60)
            assert (found.partition, found.producer.start_offset) == (TopicPartition(topic, 0), 0)
            assert found.transactional_id is None
            async with Producer(broker.bootstrap) as producer:
                await producer.send(topic, b"behind it")
            where = ("-b", broker.bootstrap)
            heading, row = (await asyncio.to_thread(pybroker, "txn", "hanging", *where)).rows
            assert heading[:5] == ["TOPIC", "PARTITION", "PRODUCER ID", "EPOCH", "START OFFSET"]
            assert row[:2] == [topic, "0"]
            ended = await asyncio.to_thread(pybroker, "txn", "abort", "--hanging", f"{topic}:0", *where, stdin=b"y\n")
            assert ended.code == 0, ended
            assert f"{topic}-0: producer {found.producer.producer_id}, from offset 0" in ended.err
            assert await admin.hanging_transactions(older_than=60) == []
            again = await asyncio.to_thread(pybroker, "txn", "abort", "--hanging", f"{topic}:0", "-y", *where)
            refused(again, 4, "nothing hangs")
        async with (
            asyncio.timeout(TIME_LIMIT_S),
            Consumer(topic, bootstrap=broker.bootstrap, start="earliest", isolation="read_committed") as consumer,
        ):
            assert [record.value for record in await consumer.poll(time_limit=TIME_LIMIT_S)] == [b"behind it"]
