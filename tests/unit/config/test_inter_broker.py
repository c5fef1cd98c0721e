"""Which listener brokers use among themselves: a named one, one of its own, or none for a broker alone."""

import pytest

from pybroker_server.config.inter_broker import OWN_NAME, is_shared_store
from pybroker_server.config.listeners import Listener
from pybroker_server.config.values import ConfigError
from pybroker_server.config.views import broker_config

MAP = {"listener.security.protocol.map": "A:PLAINTEXT,B:PLAINTEXT,PLAINTEXT:PLAINTEXT,REPLICATION:PLAINTEXT"}
TWO = {"listeners": "A://127.0.0.1:1,B://10.0.0.1:2", **MAP}


def test_a_broker_alone_opens_none() -> None:
    for url in ({}, {"metadata.store.url": "memory://"}, {"metadata.store.url": "sqlite:///x/y?shared=false"}):
        config = broker_config(url)
        assert config.inter_broker_listener is None
        assert config.opened_listeners == config.listeners


@pytest.mark.parametrize("url", ["etcd://h:2379/p", "sqlite:///x/y?shared=true"])
def test_a_store_that_others_can_use_opens_one_on_the_first_listeners_host(url: str) -> None:
    config = broker_config({"metadata.store.url": url, **TWO})
    assert config.inter_broker_listener == Listener(OWN_NAME, "PLAINTEXT", "127.0.0.1", 0)
    assert config.opened_listeners == (*config.listeners, config.inter_broker_listener)


def test_the_one_that_is_named_serves_both() -> None:
    for store in ({}, {"metadata.store.url": "etcd://h:2379/p"}):
        config = broker_config({"inter.broker.listener.name": "b", **TWO, **store})
        assert config.inter_broker_listener == config.listeners[1]
        assert config.opened_listeners == config.listeners


def test_a_protocol_that_is_set_names_the_listener_as_in_kafka() -> None:
    config = broker_config({"security.inter.broker.protocol": "PLAINTEXT"})
    assert config.inter_broker_listener == config.listeners[0]


def test_a_listener_of_the_own_name_gives_it_a_port_that_stays() -> None:
    config = broker_config({"listeners": "A://:1,REPLICATION://:9094", "metadata.store.url": "etcd://h:1/p", **MAP})
    assert config.inter_broker_listener == Listener(OWN_NAME, "PLAINTEXT", "", 9094)
    assert config.opened_listeners == config.listeners


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"inter.broker.listener.name": "C"}, "C is no listener"),
        ({"security.inter.broker.protocol": "SSL"}, "SSL is no listener"),
        ({"inter.broker.listener.name": "A", "security.inter.broker.protocol": "PLAINTEXT"}, "only one of this"),
    ],
)
def test_what_cannot_be_is_refused(values: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        broker_config({**TWO, **values})


def test_a_url_that_is_none_is_left_to_whoever_opens_it() -> None:
    assert not is_shared_store("http://[")
