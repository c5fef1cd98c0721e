"""Metrics and health over HTTP, of a broker process that real clients use meanwhile."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from tests.support.admin_server import Scrape, get, problems
from tests.support.broker_process import BrokerProcess, free_port, running_broker

from pybroker_server.admin.table import METRICS

PARTITIONS = 3
RECORDS = 30_000
VALUE = b"x" * 100
LATE = 7


class Observed:
    """A broker with an admin server."""

    def __init__(self, broker: BrokerProcess, url: str) -> None:
        self.broker = broker
        self.url = url

    def scrape(self) -> Scrape:
        return Scrape.of(self.url)


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    address = f"127.0.0.1:{free_port()}"
    with running_broker(tmp_path_factory.mktemp("metrics") / "data", {"admin.listener": address}) as broker:
        yield Observed(broker, f"http://{address}")


@pytest.fixture(scope="module")
def after_load(observed: Observed) -> Scrape:
    """Clients produce, consume in a group, fall behind and make mistakes; scrapes go on all the while."""
    bootstrap = observed.broker.bootstrap
    create_topic(bootstrap, "loaded")
    stop = threading.Event()
    failures: list[BaseException] = []
    watcher = threading.Thread(target=watch, args=(observed, stop, failures))
    watcher.start()
    try:
        produce(bootstrap, RECORDS)
        consume(bootstrap, RECORDS)
        produce(bootstrap, LATE)
    finally:
        stop.set()
        watcher.join()
    assert not failures, failures
    send_nonsense(observed.broker.port)
    ask_for_an_offset_that_is_not_there(bootstrap)
    return observed.scrape()


def create_topic(bootstrap: str, name: str) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(name, PARTITIONS, 1)])[name].result(30)


def produce(bootstrap: str, count: int) -> None:
    failed: list[str] = []
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5, "enable.idempotence": True})
    for number in range(count):
        producer.produce(
            "loaded",
            VALUE,
            partition=number % PARTITIONS,
            on_delivery=lambda e, _: failed.append(str(e)) if e else None,
        )
        producer.poll(0)
    assert producer.flush(60) == 0
    assert failed == []


def consume(bootstrap: str, count: int) -> None:
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "readers",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe(["loaded"])
    got = 0
    while got < count:
        messages = consumer.consume(10_000, 30)
        assert messages, f"only {got} records came"
        assert [message.error() for message in messages if message.error()] == []
        got += len(messages)
    consumer.commit(asynchronous=False)
    consumer.close()


def watch(observed: Observed, stop: threading.Event, failures: list[BaseException]) -> None:
    """Scrapes without a pause; nothing that counts may ever go back."""
    try:
        last = observed.scrape()
        while not stop.is_set():
            now = observed.scrape()
            shrunk = {key: value for key, value in last.counters.items() if now.counters.get(key, -1) < value}
            assert shrunk == {}
            last = now
    except (AssertionError, OSError) as error:  # carried to the test's thread
        failures.append(error)


def send_nonsense(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), 10) as peer:
        peer.sendall(b"GET / HTTP/1.1\r\n\r\n")
        while peer.recv(1000):
            pass


def ask_for_an_offset_that_is_not_there(bootstrap: str) -> None:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "lost", "auto.offset.reset": "error"})
    consumer.assign([TopicPartition("loaded", 0, 10**12)])
    message = consumer.poll(30)
    assert message is not None
    assert message.error() is not None
    consumer.close()


def test_metrics_agree_with_what_clients_sent_and_read(after_load: Scrape) -> None:
    sent = RECORDS + LATE
    assert after_load.value("pybroker_topic_records_in_total", topic="loaded") == sent
    assert after_load.total("kafka_topic_partition_current_offset", topic="loaded") == sent
    assert after_load.total("pybroker_partition_log_end_offset", topic="loaded") == sent
    assert after_load.total("kafka_topic_partition_oldest_offset", topic="loaded") == 0
    bytes_in = after_load.value("pybroker_topic_bytes_in_total", topic="loaded")
    assert bytes_in is not None
    assert bytes_in > sent * len(VALUE)
    assert bytes_in == after_load.total("pybroker_partition_log_size_bytes", topic="loaded")
    batches = after_load.value("pybroker_topic_batches_in_total", topic="loaded")
    assert batches is not None
    assert PARTITIONS <= batches < sent
    bytes_out = after_load.value("pybroker_topic_bytes_out_total", topic="loaded")
    assert bytes_out is not None
    assert bytes_out >= RECORDS * len(VALUE)


def test_metrics_tell_the_topic_as_it_is(after_load: Scrape) -> None:
    assert after_load.value("kafka_brokers") == 1
    assert after_load.value("kafka_topic_partitions", topic="loaded") == PARTITIONS
    for partition in map(str, range(PARTITIONS)):
        where = {"topic": "loaded", "partition": partition}
        assert after_load.value("kafka_topic_partition_leader", **where) == 1
        assert after_load.value("kafka_topic_partition_replicas", **where) == 1
        assert after_load.value("kafka_topic_partition_in_sync_replica", **where) == 1
        assert after_load.value("kafka_topic_partition_leader_is_preferred", **where) == 1
        assert after_load.value("kafka_topic_partition_under_replicated_partition", **where) == 0
        assert after_load.value("pybroker_partition_unflushed_records", **where) == 0


def test_metrics_tell_how_far_behind_a_group_is(after_load: Scrape) -> None:
    labels = {"consumergroup": "readers", "topic": "loaded"}
    assert after_load.total("kafka_consumergroup_current_offset", **labels) == RECORDS
    assert after_load.total("kafka_consumergroup_lag", **labels) == LATE
    assert after_load.value("kafka_consumergroup_lag_sum", **labels) == LATE
    assert after_load.value("kafka_consumergroup_current_offset_sum", **labels) == RECORDS
    assert after_load.value("kafka_consumergroup_members", consumergroup="readers") == 0
    info = {"consumergroup": "readers", "protocol": "classic", "state": "Empty"}
    assert after_load.value("pybroker_consumergroup_info", **info) == 1


def test_metrics_count_requests_their_time_and_their_errors(after_load: Scrape) -> None:
    produces = after_load.total("pybroker_requests_total", api="Produce")
    assert produces > 0
    assert after_load.value("pybroker_request_duration_seconds_count", api="Produce") == produces
    assert after_load.total("pybroker_request_bytes_total", api="Produce") > RECORDS * len(VALUE)
    assert after_load.total("pybroker_response_bytes_total", api="Fetch") > RECORDS * len(VALUE)
    assert after_load.value("pybroker_request_errors_total", api="Fetch", error="OFFSET_OUT_OF_RANGE") == 1
    assert after_load.total("pybroker_connections_refused_total") == 1
    flushes = after_load.value("pybroker_fsync_duration_seconds_count")
    assert flushes is not None
    assert flushes > 0
    assert after_load.total("pybroker_request_bugs_total") == 0


def test_metrics_pass_promtool_and_our_own_look(after_load: Scrape) -> None:
    assert problems(after_load) == []


def test_every_metric_that_is_told_is_declared_and_every_declared_one_is_told(after_load: Scrape) -> None:
    beside = {name for name in after_load.names if name.startswith(("process_", "python_"))}
    assert after_load.names - beside == set(METRICS)
    assert "process_resident_memory_bytes" in beside


def test_a_scraper_that_asks_for_openmetrics_gets_it(observed: Observed) -> None:
    answer = get(f"{observed.url}/metrics", accept="application/openmetrics-text; version=1.0.0")
    assert answer.text.endswith("# EOF\n")


def test_health_paths_say_that_a_broker_is_ready(observed: Observed) -> None:
    assert get(f"{observed.url}/livez") == (200, "ok\n")
    assert get(f"{observed.url}/readyz") == (200, "ok\n")
    assert get(f"{observed.url}/v1/status/ready") == (200, '{"status": "ready"}')
    assert get(f"{observed.url}/nothing").status == 404


@pytest.fixture
def default_port_taken() -> Iterator[None]:
    """Port 9644 of this machine is somebody's: ours, unless it is already."""
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", 9644))
        except OSError:
            pass  # just as well
        else:
            taken.listen()
        yield


@pytest.mark.usefixtures("default_port_taken")
def test_a_second_broker_on_a_host_serves_without_the_default_port_and_says_so(tmp_path: Path) -> None:
    second = BrokerProcess(tmp_path / "second", settings={"admin.listener": None})
    second.start()
    try:
        assert "WARN admin_not_listening address=127.0.0.1:9644" in second.log()
        second.stop()
    finally:
        second.close()


@pytest.mark.usefixtures("default_port_taken")
def test_an_address_that_somebody_named_and_that_is_taken_is_an_error(tmp_path: Path) -> None:
    broker = BrokerProcess(tmp_path / "broker", settings={"admin.listener": "127.0.0.1:9644"})
    broker.launch()
    assert broker.wait() != 0
    assert "cannot listen on 127.0.0.1:9644 for the admin server" in broker.log()
