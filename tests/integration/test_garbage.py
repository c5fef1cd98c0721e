"""Requests that wait leave no cycles: an answer's buffers are free when it is sent, not when garbage is collected."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

from confluent_kafka import Consumer, Producer
from tests.support.broker_process import BrokerProcess

REQUESTS = 300
SCRIPT = """
import gc, signal, sys
from pybroker_server.runtime import loop

def settle():
    gc.collect()
    gc.freeze()
    gc.disable()
    signal.signal(signal.SIGUSR1, lambda *_: print("collected", gc.collect(), flush=True))
    print("settled", flush=True)

loop.settle_garbage_collector = settle
from pybroker_server.cli.main import main
main(sys.argv[1:])
"""
FEW = 100
"""What connections and the like may leave; one cycle per request would be a multiple of REQUESTS."""


def collected(broker: BrokerProcess) -> int:
    """Has the broker collect its garbage; how many objects that were."""
    told = broker.log().count("collected")
    broker.running.send_signal(signal.SIGUSR1)
    wait_for(broker, "collected", told + 1)
    return int(broker.log().rsplit("collected ", 1)[1].split()[0])


def wait_for(broker: BrokerProcess, word: str, count: int) -> None:
    deadline = time.monotonic() + 30
    while broker.log().count(word) < count:
        assert time.monotonic() < deadline, broker.log()
        time.sleep(0.02)


def test_produces_and_fetches_that_waited_are_freed_when_they_are_answered(tmp_path: Path) -> None:
    broker = BrokerProcess(tmp_path / "data", command=(sys.executable, "-c", SCRIPT, "serve"))
    broker.start()
    try:
        producer = Producer({"bootstrap.servers": broker.bootstrap, "acks": "all", "linger.ms": 0})
        consumer = Consumer(
            {
                "bootstrap.servers": broker.bootstrap,
                "group.id": "tidy",
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
            }
        )
        consumer.subscribe(["waits"])
        exchange(producer, consumer, 10)
        wait_for(broker, "settled", 1)
        collected(broker)
        exchange(producer, consumer, REQUESTS)
        assert collected(broker) < FEW
        consumer.close()
        broker.stop()
    finally:
        broker.close()


def exchange(producer: Producer, consumer: Consumer, count: int) -> None:
    """One record after the other, each awaited and committed: every produce and nearly every fetch waits."""
    for _ in range(count):
        producer.produce("waits", b"x" * 1000)
        assert producer.flush(30) == 0
        message = consumer.poll(30)
        assert message is not None
        assert message.error() is None, message.error()
        consumer.commit(message, asynchronous=False)
