"""How a broker presents itself: in the metadata store, and to each client."""

from pathlib import Path

import pytest

from pybroker_server.config.views import broker_config
from pybroker_server.handlers.request import ConnectionInfo
from pybroker_server.metadata.image import Endpoint
from pybroker_server.registration import address_resolver, registration
from pybroker_server.runtime import host
from pybroker_server.runtime.disk_os import OsDisk

NAME = "machine.example"


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with a name, and not in a container."""
    monkeypatch.setattr(host, "host_name", lambda: NAME)
    monkeypatch.setattr(host, "container_routes", lambda disk: "")


def registered(**settings: str) -> tuple[Endpoint, ...]:
    config = broker_config({key.replace("_", "."): value for key, value in settings.items()})
    return registration(config, 3, config.listeners).endpoints


def test_a_listener_on_one_address_is_registered_with_it() -> None:
    [endpoint] = registered(listeners="PLAINTEXT://127.0.0.1:9092")
    assert (endpoint.listener, endpoint.host, endpoint.port) == ("PLAINTEXT", "127.0.0.1", 9092)


@pytest.mark.parametrize("address", ["0.0.0.0", "[::]"])
def test_a_listener_on_every_address_is_registered_by_the_machines_name(address: str) -> None:
    [endpoint] = registered(listeners=f"PLAINTEXT://{address}:9092")
    assert (endpoint.host, endpoint.port) == (NAME, 9092)


def test_what_is_advertised_wins_and_the_rest_stays_as_it_is() -> None:
    endpoints = registered(
        listeners="A://0.0.0.0:9092,B://0.0.0.0:9093",
        listener_security_protocol_map="A:PLAINTEXT,B:PLAINTEXT",
        advertised_listeners="A://outside.example:19092",
        inter_broker_listener_name="A",
    )
    assert [(one.listener, one.host, one.port) for one in endpoints] == [
        ("A", "outside.example", 19092),
        ("B", NAME, 9093),
    ]


def test_node_rack_and_machine_are_told() -> None:
    config = broker_config({"broker.rack": "r1"})
    image = registration(config, 3, config.listeners)
    assert (image.node_id, image.rack, image.host_id) == (3, "r1", NAME)


def connection(local_host: str = "10.0.0.5") -> ConnectionInfo:
    return ConnectionInfo(1, "PLAINTEXT", local_host, 9092, "10.0.0.9", 50_000)


def test_a_client_is_told_the_address_by_which_it_came(tmp_path: Path) -> None:
    config = broker_config({"listeners": "PLAINTEXT://0.0.0.0:9092"})
    endpoint = address_resolver(config, 3, OsDisk())(registration(config, 3, config.listeners), connection())
    assert endpoint is not None
    assert (endpoint.host, endpoint.port) == ("10.0.0.5", 9092)


def test_an_advertised_address_is_told_to_everybody() -> None:
    config = broker_config(
        {"listeners": "PLAINTEXT://0.0.0.0:9092", "advertised.listeners": "PLAINTEXT://outside.example:19092"}
    )
    endpoint = address_resolver(config, 3, OsDisk())(registration(config, 3, config.listeners), connection())
    assert endpoint is not None
    assert (endpoint.host, endpoint.port) == ("outside.example", 19092)
