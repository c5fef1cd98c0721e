"""Listeners: `NAME://host:port` and what each name speaks.

Rules of this file: pure. A listener that `controller.listener.names` names belongs to Kafka's controller quorum and
is left out. Only PLAINTEXT is served so far: another protocol is refused rather than served in the clear.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pybroker_server.config.values import ConfigError, split_list

PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")

_LISTENER = re.compile(r"([A-Za-z0-9_-]+)://(\[[0-9A-Fa-f:.%a-z]*\]|[^:\[\]]*):(\d{1,5})")


@dataclass(frozen=True, slots=True)
class Listener:
    """An address to listen on, or one to tell clients. `host` is empty for every interface; brackets are off."""

    name: str
    protocol: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.name}://{host}:{self.port}"


def parse_protocol_map(text: str) -> dict[str, str]:
    """`listener.security.protocol.map`: names in capitals, as Kafka compares them. Raises ConfigError."""
    key = "listener.security.protocol.map"
    found: dict[str, str] = {}
    for item in split_list(text):
        name, colon, protocol = (part.strip() for part in item.partition(":"))
        if not colon or not name or protocol.upper() not in PROTOCOLS:
            raise ConfigError(key, f"{item!r} is not a pair NAME:PROTOCOL with one of {', '.join(PROTOCOLS)}")
        if found.setdefault(name.upper(), protocol.upper()) != protocol.upper():
            raise ConfigError(key, f"{name} is given two protocols")
    return found


def parse_listeners(
    key: str, items: Sequence[str], protocols: Mapping[str, str], *, left_out: Sequence[str] = ()
) -> tuple[Listener, ...]:
    """The listeners of `listeners` or `advertised.listeners`, in order. Raises ConfigError, naming `key`."""
    skipped = {name.upper() for name in left_out}
    found: list[Listener] = []
    for item in items:
        matched = _LISTENER.fullmatch(item)
        if matched is None:
            raise ConfigError(key, f"{item!r} is not an address; written as PLAINTEXT://host:9092")
        name, host, port = matched[1].upper(), matched[2].strip("[]"), int(matched[3])
        if port > 65_535:
            raise ConfigError(key, f"{item!r} has a port above 65535")
        if name in skipped:
            continue
        if name not in protocols:
            raise ConfigError(
                key,
                f"nothing says which protocol {name} speaks",
                hint=f"add {name}:PLAINTEXT to listener.security.protocol.map",
            )
        if any(other.name == name for other in found):
            raise ConfigError(key, f"{name} is given twice; every listener needs a name of its own")
        found.append(Listener(name, protocols[name], host, port))
    return tuple(found)
