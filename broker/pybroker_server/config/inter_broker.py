"""The listener that brokers use among themselves: what replicas ask is answered on it and nowhere else (design D12).

Rules of this file: pure. A listener that is named (`inter.broker.listener.name`, or `security.inter.broker.protocol`
for the listener of that name) serves brokers beside its clients, as in Kafka. When none is named and other brokers can
share the metadata store, one is opened for brokers alone, on the first listener's host and a port that the system
chooses: other brokers find it in the metadata.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import parse_qs, urlsplit

from pybroker_server.config.listeners import Listener
from pybroker_server.config.load import Settings
from pybroker_server.config.values import ConfigError

OWN_NAME: Final = "REPLICATION"
"""Of the listener that is opened for brokers alone. One that `listeners` calls so is taken for it."""


def is_shared_store(url: str) -> bool:
    """Whether other brokers may use the metadata store of this URL too."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False  # whoever opens it says what is wrong with it
    if parts.scheme == "etcd":
        return True
    return parts.scheme == "sqlite" and parse_qs(parts.query).get("shared", ["false"])[-1] == "true"


def inter_broker_listener(settings: Settings, listeners: Sequence[Listener], store_url: str) -> Listener | None:
    """One of `listeners`, or one that is to be opened beside them, or None for a broker that stays alone.

    Raises ConfigError for a name that no listener has.
    """
    key = _naming_key(settings)
    by_name = {listener.name: listener for listener in listeners}
    if key is not None:
        name = settings.value(key)
        assert isinstance(name, str)
        found = by_name.get(name.upper())
        if found is None:
            raise ConfigError(key, f"{name} is no listener", where=settings.by_name[key].where)
        return found
    own = by_name.get(OWN_NAME)
    if own is not None or not is_shared_store(store_url):
        return own
    return Listener(OWN_NAME, "PLAINTEXT", listeners[0].host, 0)


def _naming_key(settings: Settings) -> str | None:
    name, protocol = "inter.broker.listener.name", "security.inter.broker.protocol"
    if settings.value(name) is None:
        return protocol if settings.is_set(protocol) else None
    if settings.is_set(protocol):
        raise ConfigError(name, f"only one of this and {protocol} may be set", where=settings.by_name[name].where)
    return name
