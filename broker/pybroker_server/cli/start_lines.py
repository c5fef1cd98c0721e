"""The lines that `pybroker serve` prints when it is ready.

Rules of this file: pure; what is printed where is `serve.py`'s business. Three sentences are those that test
libraries wait for in Kafka's own log: `Kafka Server started`, `[KafkaServer id=1] started` and the one with
`Transitioning from RECOVERY to RUNNING`.
"""

from __future__ import annotations

from collections.abc import Sequence

from pybroker_server.config.listeners import Listener
from pybroker_server.config.views import BrokerConfig

_EVERYWHERE = ("", "0.0.0.0", "::")


def start_lines(config: BrokerConfig, bound: Sequence[Listener], *, node_id: int, version: str) -> list[str]:
    """What a reader needs first: version, data, durability, addresses, and two lines to paste.

    `bound` are the listeners with the ports that were opened.
    """
    told = {listener.name: listener for listener in config.advertised_listeners}
    lines = [
        f"pybroker {version}, node {node_id}",
        f"  data        {', '.join(config.log_dirs)}",
        f"  metadata    {config.metadata_store_url}",
        f"  durability  {config.durability}: {_durability_words(config.durability)}",
    ]
    for_brokers = config.inter_broker_listener
    for index, listener in enumerate(bound):
        if for_brokers is not None and for_brokers not in config.listeners and listener.name == for_brokers.name:
            lines.append(f"{' ' * 14}{listener}, for other brokers")
            continue
        head = "  listening   " if index == 0 else " " * 14
        lines.append(f"{head}{listener}, clients are told {_told(listener, told.get(listener.name))}")
    open_to_all = [listener.name for listener in bound if not _is_loopback(listener.host)]
    if open_to_all:
        lines.append(f"  note        {', '.join(open_to_all)} is open to the network without authentication")
    address = paste_address(bound, told)
    option = "" if address in ("localhost:9092", "127.0.0.1:9092") else f" -b {address}"
    lines.append(f"  produce     echo hello | pybroker produce greetings{option}")
    lines.append(f"  consume     pybroker consume greetings -o start{option}")
    return lines


def ready_sentences(node_id: int) -> list[str]:
    """The sentences that other people's tools wait for."""
    return [
        f"[BrokerLifecycleManager id={node_id}] Transitioning from RECOVERY to RUNNING",
        f"[KafkaServer id={node_id}] started",
        "Kafka Server started",
    ]


def paste_address(bound: Sequence[Listener], told: dict[str, Listener]) -> str:
    """Where a client on this machine finds the first listener."""
    first = bound[0]
    if first.host not in _EVERYWHERE:
        return _address(first.host, first.port)
    advertised = told.get(first.name)
    return _address(advertised.host, advertised.port or first.port) if advertised else f"localhost:{first.port}"


def _told(listener: Listener, told: Listener | None) -> str:
    if told is not None:
        return _address(told.host, told.port or listener.port)
    if listener.host not in _EVERYWHERE:
        return _address(listener.host, listener.port)
    return f"the address on which they came, port {listener.port}"


def _durability_words(durability: str) -> str:
    if durability == "fsync":
        return "acks=all is answered when the record is on the device"
    return "acks=all is answered when the record is in memory; a power cut can take it back"


def _is_loopback(host: str) -> bool:
    return host == "localhost" or host == "::1" or host.startswith("127.")


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
