"""From a topic's configuration to what its logs need.

Rules of this file: pure; the only place that knows both `BrokerConfig` and `LogConfig`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final

from pybroker_server.config.views import BrokerConfig
from pybroker_server.log.log_config import LogConfig

_FROM_BROKER: Final = frozenset({"producer_id_expiration_ms", "transaction_partition_verification_enable"})
_FIELDS: Final = {f.name.replace("_", "."): f.name for f in fields(LogConfig) if f.name not in _FROM_BROKER}


def log_config_for(config: BrokerConfig, overrides: Mapping[str, str]) -> LogConfig:
    """The log configuration of a topic with these overrides on this broker."""
    values = config.topic_values(overrides)
    given: dict[str, Any] = {_FIELDS[key]: value for key, value in values.items() if key in _FIELDS}
    given["cleanup_policy"] = frozenset(given["cleanup_policy"])
    return LogConfig(**given, **{name: getattr(config, name) for name in _FROM_BROKER})
