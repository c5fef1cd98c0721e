"""How the settings of one broker become those of several on one machine (design D10).

Rules of this file: pure. Worker `i` is the broker with the first one's node id plus `i`, in a directory `node<id>`
below each log directory, on ports that follow those of the worker before it. All share one metadata store; where none
is named it is a file in the first log directory.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pybroker_server.cli.errors import EXIT_USAGE, CliError
from pybroker_server.config.inter_broker import is_shared_store
from pybroker_server.config.listeners import Listener
from pybroker_server.config.views import FALLBACK_NODE_ID, BrokerConfig

OWN_KEYS: Final = frozenset(
    {
        "admin.listener",
        "advertised.listeners",
        "broker.id",
        "listeners",
        "log.dir",
        "log.dirs",
        "metadata.store.url",
        "node.id",
    }
)
"""What every worker has for itself, or what all have in place of what was given."""
PORT_MAX: Final = 65_535


@dataclass(frozen=True, slots=True)
class Worker:
    node_id: int
    settings: Mapping[str, str]


def plan_workers(config: BrokerConfig, count: int) -> list[Worker]:
    """Raises CliError for settings that several brokers cannot share."""
    if count < 1:
        raise CliError(f"--workers {count}", cause="there must be at least one", code=EXIT_USAGE)
    url = config.metadata_store_url
    if not config.settings.is_set("metadata.store.url"):
        url = f"sqlite:///{config.log_dirs[0]}/cluster-metadata.db?shared=true"
    elif not is_shared_store(url):
        raise CliError(
            f"metadata.store.url {url} cannot be shared by several brokers",
            hint="add ?shared=true to the URL of a file, or leave the key out",
            code=EXIT_USAGE,
        )
    first = config.node_id if config.node_id is not None else FALLBACK_NODE_ID
    stride = _stride(config)
    return [Worker(first + index, _settings(config, first + index, index * stride, url)) for index in range(count)]


def command(worker: Worker, given: Sequence[tuple[str, str]], options: Sequence[str]) -> list[str]:
    """The command line of a worker: what was given (key, value) but for what it has for itself, and that."""
    settings = {key: value for key, value in given if key not in OWN_KEYS} | dict(worker.settings)
    overrides = [part for key, value in settings.items() for part in ("--override", f"{key}={value}")]
    return [sys.executable, "-m", "pybroker_server", "serve", *options, *overrides]


def _stride(config: BrokerConfig) -> int:
    """How far apart the ports of two workers are, so that no two listeners meet."""
    ports = [listener.port for listener in config.listeners if listener.port]
    return max(ports) - min(ports) + 1 if ports else 1


def _settings(config: BrokerConfig, node_id: int, shift: int, url: str) -> dict[str, str]:
    settings = {
        "node.id": str(node_id),
        "listeners": ",".join(_shifted(listener, shift) for listener in config.listeners),
        "log.dirs": ",".join(f"{directory}/node{node_id}" for directory in config.log_dirs),
        "metadata.store.url": url,
        "admin.listener": _admin(config, shift),
    }
    if config.advertised_listeners:
        settings["advertised.listeners"] = ",".join(_shifted(one, shift) for one in config.advertised_listeners)
    return settings


def _shifted(listener: Listener, shift: int) -> str:
    host = f"[{listener.host}]" if ":" in listener.host else listener.host
    return f"{listener.name}://{host}:{_port(listener.port, shift)}"


def _admin(config: BrokerConfig, shift: int) -> str:
    if config.admin_listener is None:
        return ""
    host, port = config.admin_listener
    return f"{f'[{host}]' if ':' in host else host}:{_port(port, shift)}"


def _port(port: int, shift: int) -> int:
    """0 is a port that the system chooses, for each worker anew."""
    shifted = port + shift if port else 0
    if shifted > PORT_MAX:
        raise CliError(f"no port is left for a worker after {port}", hint="choose lower --listeners", code=EXIT_USAGE)
    return shifted
