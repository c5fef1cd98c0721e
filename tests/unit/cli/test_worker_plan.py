"""Settings of one broker, shared out to several on one machine."""

from __future__ import annotations

import pytest

from pybroker_server.cli.errors import CliError
from pybroker_server.cli.worker_plan import Worker, command, plan_workers
from pybroker_server.config.views import broker_config


def planned(count: int = 2, **settings: str) -> list[Worker]:
    return plan_workers(broker_config({key.replace("_", "."): value for key, value in settings.items()}), count)


def test_each_has_its_own_id_port_directory_and_they_share_a_store() -> None:
    one, two = planned(listeners="PLAINTEXT://:9092", log_dirs="/a,/b")
    assert (one.node_id, two.node_id) == (1, 2)
    assert one.settings["listeners"] == "PLAINTEXT://:9092"
    assert two.settings["listeners"] == "PLAINTEXT://:9093"
    assert two.settings["log.dirs"] == "/a/node2,/b/node2"
    assert one.settings["metadata.store.url"] == two.settings["metadata.store.url"]
    assert two.settings["metadata.store.url"] == "sqlite:////a/cluster-metadata.db?shared=true"
    assert one.settings["admin.listener"] != two.settings["admin.listener"]


def test_ports_of_several_listeners_do_not_meet_and_what_is_advertised_moves_along() -> None:
    workers = planned(
        3,
        node_id="7",
        listeners="A://127.0.0.1:9092,B://[::1]:9093,C://h:0",
        advertised_listeners="A://out.example:19092",
        listener_security_protocol_map="A:PLAINTEXT,B:PLAINTEXT,C:PLAINTEXT",
        inter_broker_listener_name="A",
    )
    assert [worker.node_id for worker in workers] == [7, 8, 9]
    assert workers[2].settings["listeners"] == "A://127.0.0.1:9096,B://[::1]:9097,C://h:0"
    assert workers[2].settings["advertised.listeners"] == "A://out.example:19096"


def test_a_store_that_one_broker_keeps_for_itself_is_refused() -> None:
    with pytest.raises(CliError) as caught:
        planned(metadata_store_url="sqlite:////var/lib/store.db")
    assert "?shared=true" in (caught.value.hint or "")
    assert planned(metadata_store_url="etcd://h/p")[1].settings["metadata.store.url"] == "etcd://h/p"


@pytest.mark.parametrize(("count", "port"), [(0, 9092), (-1, 9092), (2, 65_535)])
def test_what_cannot_be_is_refused(count: int, port: int) -> None:
    with pytest.raises(CliError):
        planned(count, listeners=f"PLAINTEXT://:{port}")


def test_what_was_given_is_handed_on_unless_a_worker_has_its_own() -> None:
    [worker] = planned(1)
    words = command(worker, [("num.partitions", "3"), ("log.dirs", "/x"), ("node.id", "5")], ["--log-level", "info"])
    assert words[2:6] == ["pybroker_server", "serve", "--log-level", "info"]
    assert "num.partitions=3" in words
    assert "node.id=1" in words
    assert not any(word in ("log.dirs=/x", "node.id=5") for word in words)
