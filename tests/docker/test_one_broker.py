"""`docker/compose.yaml` as it is written, in namespaces: one broker that everybody reaches without a setting."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from tests.support.containers import DOCKER, Container, Network, read_compose

from pybroker_server import __version__

pytestmark = pytest.mark.campaign

SERVICE: dict[str, Any] = read_compose(DOCKER / "compose.yaml")["services"]["kafka"]
CLIENT = """
import sys
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
bootstrap, topic = sys.argv[1:]
failed = []
producer = Producer({"bootstrap.servers": bootstrap, "message.timeout.ms": 20000})
producer.produce(topic, f"from {bootstrap}", on_delivery=lambda e, m: failed.append(str(e)) if e else None)
assert producer.flush(20) == 0 and not failed, failed
consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "g-" + topic, "enable.auto.commit": False})
consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
message = consumer.poll(20)
assert message is not None and not message.error(), message and message.error()
consumer.commit(message, asynchronous=False)
print(message.value().decode())
consumer.close()
"""


def produce_and_consume(host: Network, who: Container | None, bootstrap: str, topic: str) -> str:
    """With librdkafka, on the host or in a container of the network."""
    if who is None:
        done = host.on_host(sys.executable, "-c", CLIENT, bootstrap, topic)
    else:
        done = who.run("/opt/pybroker/bin/python", "-c", CLIENT, bootstrap, topic, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def sibling(host: Network) -> Container:
    """Another container on the network, with a client in it."""
    return host.add("client", arguments=["sleep", "600"], environment={"PATH": "/usr/local/bin:/usr/bin:/bin"})


def test_clients_on_the_host_in_a_sibling_and_in_the_container_itself_are_served(host: Network) -> None:
    broker = host.add_service("kafka", SERVICE)
    client = sibling(host)
    broker.start()
    client.start()
    broker.wait_until_healthy()
    assert f"pybroker {__version__} " in broker.run("pybroker", "version").stdout
    assert produce_and_consume(host, None, "localhost:9092", "from-host") == "from localhost:9092"
    assert produce_and_consume(host, client, "kafka:9092", "from-sibling") == "from kafka:9092"
    by_address = f"{broker.address}:9092"
    assert produce_and_consume(host, client, by_address, "by-address") == f"from {by_address}"
    assert produce_and_consume(host, broker, "localhost:9092", "from-inside") == "from localhost:9092"
    metrics = host.on_host("curl", "-sf", "http://127.0.0.1:9644/readyz")
    assert metrics.stdout == "ok\n", metrics
    told = broker.run("pybroker", "topic", "list", "-o", "plain").stdout
    assert {"from-host", "from-sibling", "by-address", "from-inside"} <= set(told.split())
    assert broker.stop() == 0, broker.log()
    assert "broker_stopped" in broker.log()


def test_data_outlives_the_container(host: Network) -> None:
    broker = host.add_service("kafka", SERVICE)
    broker.start()
    broker.wait_until_healthy()
    broker.run("pybroker", "produce", "kept", stdin="before\n")
    assert broker.stop() == 0
    broker.start()
    broker.wait_until_healthy()
    assert broker.run("pybroker", "consume", "kept", "-o", "start", "-n", "1", "-f", "%v\n").stdout == "before\n"


@pytest.mark.parametrize("user", ["123456:0", "4711:4711"])
def test_any_user_will_do_and_the_root_may_be_read_only(host: Network, user: str) -> None:
    broker = host.add_service("kafka", {**SERVICE, "user": user})
    broker.start()
    broker.wait_until_healthy()
    assert broker.run("id", "-u").stdout.strip() == user.partition(":")[0]
    assert broker.run("touch", "/opt/pybroker/here", check=False).returncode != 0, "the root is not read-only"
    assert broker.run("cat", "/proc/self/status").stdout.count("CapEff:\t0000000000000000") == 1
    assert broker.stop() == 0


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        pytest.param(
            {
                "KAFKA_NODE_ID": "1",
                "KAFKA_PROCESS_ROLES": "broker,controller",
                "KAFKA_LISTENERS": "PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093",
                "KAFKA_ADVERTISED_LISTENERS": "PLAINTEXT://localhost:9092",
                "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
                "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
                "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
                "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
                "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
                "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
                "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
                "KAFKA_NUM_PARTITIONS": "1",
            },
            "localhost:9092",
            id="as-in-Kafkas-own-documentation",
        ),
        pytest.param(
            {"KAFKA_ADVERTISED_LISTENERS": "PLAINTEXT://kafka:9092"}, "kafka:9092", id="only-what-is-advertised"
        ),
        pytest.param(
            {
                "KAFKA_CFG_NODE_ID": "0",
                "KAFKA_CFG_PROCESS_ROLES": "controller,broker",
                "KAFKA_CFG_LISTENERS": "PLAINTEXT://:9092,CONTROLLER://:9093",
                "KAFKA_CFG_LISTENER_SECURITY_PROTOCOL_MAP": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
                "KAFKA_CFG_CONTROLLER_QUORUM_VOTERS": "0@kafka:9093",
                "KAFKA_CFG_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
            },
            "127.0.0.1:9092",
            id="the-older-spelling",
        ),
    ],
)
def test_environments_of_other_kafka_images_work(host: Network, environment: dict[str, str], told: str) -> None:
    broker = host.add_service("kafka", {**SERVICE, "environment": environment})
    broker.start()
    broker.wait_until_healthy()
    done = broker.run("pybroker", "health", "-b", "localhost:9092")
    assert "1 broker" in done.stdout
    assert produce_and_consume(host, broker, "localhost:9092", "any") == "from localhost:9092"
    assert told in brokers_told_to(broker)
    assert broker.stop() == 0


def brokers_told_to(broker: Container) -> str:
    """The addresses that a client inside is told."""
    script = (
        "from confluent_kafka.admin import AdminClient\n"
        "found = AdminClient({'bootstrap.servers': 'localhost:9092'}).list_topics(timeout=20)\n"
        "print([f'{each.host}:{each.port}' for each in found.brokers.values()])\n"
    )
    return broker.run("/opt/pybroker/bin/python", "-c", script).stdout


def test_a_test_library_that_brings_its_own_start_script_is_served(host: Network) -> None:
    """Java testcontainers: the command waits for a script, which sets what is advertised and calls Kafka's own."""
    starter = "/tmp/testcontainers_start.sh"
    service = {
        **SERVICE,
        "command": ["sh", "-c", f"while [ ! -f {starter} ]; do sleep 0.1; done; {starter}"],
        "tmpfs": ["/tmp"],
        "read_only": False,
        "environment": {
            "KAFKA_LISTENERS": "PLAINTEXT://0.0.0.0:9092,BROKER://0.0.0.0:9093,CONTROLLER://0.0.0.0:9094",
            "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "BROKER:PLAINTEXT,PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "KAFKA_INTER_BROKER_LISTENER_NAME": "BROKER",
            "KAFKA_PROCESS_ROLES": "broker,controller",
            "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
            "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9094",
            "KAFKA_NODE_ID": "1",
            "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
            "KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS": "1",
            "KAFKA_LOG_FLUSH_INTERVAL_MESSAGES": "9223372036854775807",
            "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
            "CLUSTER_ID": "4L6g3nShT-eMCtK--X86sw",
        },
    }
    broker = host.add_service("kafka", service)
    broker.start()
    script = (
        "#!/bin/bash\nexport KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://localhost:9092,BROKER://kafka:9093\n"
        "/etc/kafka/docker/run\n"
    )
    broker.wait_until_booted()
    broker.run(
        "sh", "-c", f"cat > {starter}.new && chmod 755 {starter}.new && mv {starter}.new {starter}", stdin=script
    )
    broker.wait_until_healthy()
    assert "Transitioning from RECOVERY to RUNNING" in broker.log()
    assert produce_and_consume(host, None, "localhost:9092", "test") == "from localhost:9092"
