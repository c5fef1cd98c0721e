"""How topics look that nobody described: those made because a client named them.

Rules of this file: pure. Kafka's own topics get partitions, replicas and configs from the settings of their
coordinators, whose names share a prefix; every other topic gets the broker's defaults.
"""

from __future__ import annotations

from pybroker_server.config.views import BrokerConfig
from pybroker_server.controller.topics import NewTopic

_OFFSETS, _TRANSACTIONS, _SHARE = "offsets.topic", "transaction.state.log", "share.coordinator.state.topic"


def auto_topic(name: str, config: BrokerConfig, live_brokers: int) -> NewTopic:
    """What to create when a client names a topic that does not exist."""
    if name == "__consumer_offsets":
        own = {"cleanup.policy": "compact", "compression.type": "producer"}
        return _internal(name, _OFFSETS, own, config, live_brokers)
    if name == "__transaction_state":
        own = {
            "cleanup.policy": "compact",
            "compression.type": "uncompressed",
            "unclean.leader.election.enable": "false",
            "min.insync.replicas": _min_isr(_TRANSACTIONS, config, live_brokers),
        }
        return _internal(name, _TRANSACTIONS, own, config, live_brokers)
    if name == "__share_group_state":
        own = {
            "cleanup.policy": "delete",
            "compression.type": "producer",
            "retention.ms": "-1",
            "min.insync.replicas": _min_isr(_SHARE, config, live_brokers),
        }
        return _internal(name, _SHARE, own, config, live_brokers)
    return NewTopic(name)


def _internal(name: str, prefix: str, own: dict[str, str], config: BrokerConfig, live_brokers: int) -> NewTopic:
    return NewTopic(
        name,
        partition_count=_number(f"{prefix}.num.partitions", config),
        replication_factor=config.internal_replication_factor(f"{prefix}.replication.factor", live_brokers),
        configs={**own, "segment.bytes": str(_number(f"{prefix}.segment.bytes", config))},
    )


def _min_isr(prefix: str, config: BrokerConfig, live_brokers: int) -> str:
    """Where the replication factor gave way to the number of brokers, this gives way with it."""
    wanted = _number(f"{prefix}.min.isr", config)
    if config.settings.is_set(f"{prefix}.min.isr"):
        return str(wanted)
    replicas = config.internal_replication_factor(f"{prefix}.replication.factor", live_brokers)
    return str(min(wanted, replicas))


def _number(name: str, config: BrokerConfig) -> int:
    value = config.settings.value(name)
    assert isinstance(value, int)
    return value
