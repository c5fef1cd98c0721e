"""Which address a client is told for a broker (users: "it works from the host and from inside the
container")."""

from __future__ import annotations

import pytest

from pybroker_server.handlers.request import ConnectionInfo
from pybroker_server.metadata.image import BrokerImage, Endpoint
from pybroker_server.network.advertise import (
    AddressResolver,
    is_loopback,
    is_wildcard,
    parse_default_gateway,
    plain_host,
)

OURS = BrokerImage(1, 10, (Endpoint("PLAINTEXT", "broker-1.example", 9092),))
OTHER = BrokerImage(2, 11, (Endpoint("PLAINTEXT", "broker-2.example", 9093),))


def connection(local: str, peer: str, listener: str = "PLAINTEXT", port: int = 9092) -> ConnectionInfo:
    return ConnectionInfo(1, listener, local, port, peer, 50_000)


@pytest.mark.parametrize(
    ("local", "peer", "told"),
    [
        ("127.0.0.1", "127.0.0.1", "127.0.0.1"),
        ("::1", "::1", "::1"),
        ("::ffff:127.0.0.1", "::ffff:127.0.0.1", "127.0.0.1"),
        ("192.168.1.5", "192.168.1.77", "192.168.1.5"),
        ("172.17.0.2", "172.17.0.3", "172.17.0.2"),
        ("172.17.0.2", "172.17.0.1", "127.0.0.1"),
        ("::ffff:172.17.0.2", "::ffff:172.17.0.1", "127.0.0.1"),
        ("2001:db8::5", "2001:db8::9", "2001:db8::5"),
    ],
)
def test_a_client_is_told_the_address_that_it_used(local: str, peer: str, told: str) -> None:
    resolver = AddressResolver(1, gateway="172.17.0.1")
    endpoint = resolver(OURS, connection(local, peer, port=19092))
    assert endpoint == Endpoint("PLAINTEXT", told, 19092)


def test_an_explicit_address_wins_for_every_peer() -> None:
    explicit = Endpoint("PLAINTEXT", "kafka.example", 443)
    resolver = AddressResolver(1, explicit={"PLAINTEXT": explicit}, gateway="172.17.0.1")
    for local, peer in (("127.0.0.1", "127.0.0.1"), ("172.17.0.2", "172.17.0.1"), ("10.0.0.1", "10.0.0.2")):
        assert resolver(OURS, connection(local, peer)) == explicit


def test_other_brokers_are_known_by_what_they_published() -> None:
    resolver = AddressResolver(1)
    assert resolver(OTHER, connection("127.0.0.1", "127.0.0.1")) == OTHER.endpoints[0]


def test_a_broker_without_the_listener_has_no_address_there() -> None:
    resolver = AddressResolver(1)
    assert resolver(OURS, connection("127.0.0.1", "127.0.0.1", "INTERNAL")) is None
    assert resolver(OTHER, connection("127.0.0.1", "127.0.0.1", "INTERNAL")) is None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost", "::ffff:127.0.0.1"])
def test_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "", "10.0.0.1", "broker.example"])
def test_not_loopback(host: str) -> None:
    assert not is_loopback(host)


def test_wildcards_and_mapped_addresses() -> None:
    assert [is_wildcard(host) for host in ("", "0.0.0.0", "::", "127.0.0.1")] == [True, True, True, False]
    assert plain_host("::FFFF:10.0.0.5") == "10.0.0.5"
    assert plain_host("::ffff:0:1") == "::ffff:0:1"


def test_default_gateway_of_a_container() -> None:
    table = (
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
        "eth0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
        "eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
    )
    assert parse_default_gateway(table) == "172.17.0.1"
    assert parse_default_gateway(table.replace("010011AC", "00000000")) is None
    assert parse_default_gateway("") is None
