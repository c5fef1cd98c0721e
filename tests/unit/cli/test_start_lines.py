"""What `pybroker serve` says when it is ready."""

from pybroker_server.cli.start_lines import ready_sentences, start_lines
from pybroker_server.config.listeners import Listener
from pybroker_server.config.views import broker_config


def test_the_defaults_are_said_in_full() -> None:
    config = broker_config({"log.dirs": "/data"})
    text = "\n".join(start_lines(config, config.listeners, node_id=1, version="1.2.3"))
    assert "pybroker 1.2.3, node 1" in text
    assert "/data" in text
    assert "durability  fsync" in text
    assert "PLAINTEXT://127.0.0.1:9092, clients are told 127.0.0.1:9092" in text
    assert "echo hello | pybroker produce greetings\n" in text
    assert "pybroker consume greetings -o start" in text
    assert "without authentication" not in text


def test_an_open_listener_says_so_and_who_is_told_what() -> None:
    config = broker_config(
        {
            "listeners": "PLAINTEXT://:9092,OUT://[::]:0",
            "advertised.listeners": "OUT://example.org:19092",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,OUT:PLAINTEXT",
            "durability": "page-cache",
        }
    )
    bound = [Listener("PLAINTEXT", "PLAINTEXT", "", 9092), Listener("OUT", "PLAINTEXT", "::", 40001)]
    text = "\n".join(start_lines(config, bound, node_id=7, version="1"))
    assert "the address on which they came, port 9092" in text
    assert "OUT://[::]:40001, clients are told example.org:19092" in text
    assert "PLAINTEXT, OUT is open to the network without authentication" in text
    assert "a power cut can take it back" in text


def test_the_listener_that_is_for_brokers_alone_is_said_to_be_so() -> None:
    config = broker_config({"metadata.store.url": "sqlite:///x/y?shared=true"})
    text = "\n".join(start_lines(config, config.opened_listeners, node_id=1, version="1"))
    assert "REPLICATION://127.0.0.1:0, for other brokers\n" in text
    assert "clients are told 127.0.0.1:0" not in text


def test_a_port_that_is_not_the_usual_one_is_in_the_lines_to_paste() -> None:
    config = broker_config({"listeners": "PLAINTEXT://127.0.0.1:0"})
    lines = start_lines(config, [Listener("PLAINTEXT", "PLAINTEXT", "127.0.0.1", 4711)], node_id=1, version="1")
    assert lines[-1].endswith("-b 127.0.0.1:4711")


def test_the_sentences_that_test_libraries_wait_for() -> None:
    text = "\n".join(ready_sentences(5))
    assert "Kafka Server started" in text
    assert "[KafkaServer id=5] started" in text
    assert "Transitioning from RECOVERY to RUNNING" in text
