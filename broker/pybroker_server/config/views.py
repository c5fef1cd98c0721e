"""What the parts see of the configuration: one frozen value with a typed attribute for each key that has an effect.

Rules of this file: an attribute is named as its key with underscores for dots, and its key is read nowhere else;
attributes that are more than their key's value say so. A broker never changes a `BrokerConfig`: a dynamic change
makes another one (`dynamic.py`).
"""

from __future__ import annotations

import os.path
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from pybroker_server.config.definitions import BROKER, GROUP, TOPIC
from pybroker_server.config.inter_broker import inter_broker_listener
from pybroker_server.config.listeners import Listener, parse_listeners, parse_protocol_map
from pybroker_server.config.load import Layer, Setting, Settings, load_settings
from pybroker_server.config.notation import ConfigDef, ConfigValue
from pybroker_server.config.values import ConfigError, default_value, parse_value

FALLBACK_NODE_ID: Final = 1
"""The node id when neither a setting nor the data directory says one."""

_METADATA_FILE: Final = "cluster-metadata.db"
_SERVED_PROTOCOLS: Final = ("PLAINTEXT",)


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerConfig:
    """One broker's settings. Times in ms, sizes in bytes unless the key's name says otherwise."""

    settings: Settings
    """Every key with its source, for DescribeConfigs and `config explain`; parts read the attributes."""
    topic_defaults: Mapping[str, ConfigValue]
    """By topic key: what a topic without overrides has on this broker."""
    group_defaults: Mapping[str, ConfigValue]
    """By group key: what a group without overrides has on this broker."""

    node_id: int | None
    """None: adopt the one in the data directory, else `FALLBACK_NODE_ID`. Also read from `broker.id`."""
    broker_rack: str | None
    cluster_id: str | None
    """Id for a cluster that is made anew; None: make one up."""
    metadata_store_url: str
    """Resolved: names a file in the first log directory when the key is not set."""
    log_dirs: tuple[str, ...]
    """Resolved from `log.dirs` and `log.dir`: absolute, not empty."""
    durability: str
    """`fsync` or `page-cache`: the default of topics, shown at start (design D7)."""

    listeners: tuple[Listener, ...]
    """Without Kafka's controller listeners; not empty."""
    advertised_listeners: tuple[Listener, ...]
    """Only what `advertised.listeners` says; a listener that is missing here is advertised per connection."""
    inter_broker_listener: Listener | None
    """Where other brokers reach this one: one of `listeners`, or one of its own; None: there are no others."""

    admin_listener: tuple[str, int] | None
    """Host and port; None: no admin server. Read from `admin.listener`."""

    request_timeout_ms: int
    socket_connection_setup_timeout_ms: int
    socket_send_buffer_bytes: int
    socket_receive_buffer_bytes: int
    socket_request_max_bytes: int
    socket_listen_backlog_size: int
    max_connections: int
    max_connections_per_ip: int
    max_connections_per_ip_overrides: Mapping[str, int]
    max_connection_creation_rate: int
    connections_max_idle_ms: int
    queued_max_request_bytes: int

    fetch_max_bytes: int
    max_incremental_fetch_session_cache_slots: int
    max_request_partition_size_limit: int

    num_partitions: int
    default_replication_factor: int
    auto_create_topics_enable: bool
    delete_topic_enable: bool

    num_recovery_threads_per_data_dir: int
    log_retention_check_interval_ms: int
    log_flush_scheduler_interval_ms: int
    log_flush_offset_checkpoint_interval_ms: int
    log_flush_start_offset_checkpoint_interval_ms: int
    log_initial_task_delay_ms: int
    log_cleaner_enable: bool
    log_cleaner_io_max_bytes_per_second: float
    log_cleaner_dedupe_buffer_size: int
    log_cleaner_io_buffer_load_factor: float
    log_cleaner_backoff_ms: int
    producer_id_expiration_ms: int
    producer_id_expiration_check_interval_ms: int
    replica_high_watermark_checkpoint_interval_ms: int
    replica_lag_time_max_ms: int
    replica_fetch_max_bytes: int
    replica_fetch_response_max_bytes: int
    replica_fetch_min_bytes: int
    replica_fetch_wait_max_ms: int
    replica_fetch_backoff_ms: int
    replica_socket_timeout_ms: int
    replica_selector_class: str | None
    leader_replication_throttled_rate: int
    follower_replication_throttled_rate: int

    offsets_commit_timeout_ms: int
    offsets_load_buffer_size: int
    offsets_topic_compression_codec: int
    offset_metadata_max_bytes: int
    offsets_retention_minutes: int
    offsets_retention_check_interval_ms: int
    group_coordinator_rebalance_protocols: tuple[str, ...]
    group_min_session_timeout_ms: int
    group_max_session_timeout_ms: int
    group_initial_rebalance_delay_ms: int
    group_max_size: int
    group_consumer_session_timeout_ms: int
    group_consumer_heartbeat_interval_ms: int
    group_consumer_max_size: int
    group_consumer_assignors: tuple[str, ...]
    group_consumer_migration_policy: str
    group_consumer_assignment_interval_ms: int
    group_consumer_regex_refresh_interval_ms: int

    transaction_max_timeout_ms: int
    transaction_partition_verification_enable: bool
    add_partitions_to_txn_retry_backoff_ms: int
    add_partitions_to_txn_retry_backoff_max_ms: int
    transactional_id_expiration_ms: int
    transaction_abort_timed_out_transaction_cleanup_interval_ms: int
    transaction_remove_expired_transaction_cleanup_interval_ms: int
    transaction_state_log_load_buffer_size: int

    broker_session_timeout_ms: int
    broker_heartbeat_interval_ms: int
    controlled_shutdown_enable: bool
    auto_leader_rebalance_enable: bool
    leader_imbalance_check_interval_seconds: int

    def with_node_id(self, node_id: int) -> BrokerConfig:
        """The same with the node id that the data directory says, or that was given out at the first start."""
        return replace(self, node_id=node_id, settings=_with_both_ids(self.settings, node_id))

    @property
    def opened_listeners(self) -> tuple[Listener, ...]:
        """All that are listened on, that for brokers included."""
        extra = self.inter_broker_listener
        return self.listeners if extra is None or extra in self.listeners else (*self.listeners, extra)

    def internal_replication_factor(self, key: str, live_brokers: int) -> int:
        """Replicas for an internal topic that is about to be made, by its key (`offsets.topic.replication.factor`).

        What was set counts as it is; Kafka's default of 3 gives way to the number of brokers, so that one broker
        works without any setting.
        """
        wanted = self.settings.value(key)
        assert isinstance(wanted, int)
        return wanted if self.settings.is_set(key) else max(1, min(wanted, live_brokers))

    def topic_values(self, overrides: Mapping[str, str]) -> dict[str, ConfigValue]:
        """Every topic key with the value that a topic with these overrides has; lists are tuples.

        Overrides were validated when they were made; ConfigError for one that is not valid all the same.
        """
        values = dict(self.topic_defaults)
        for name, text in overrides.items():
            values[name] = parse_value(TOPIC[name], text)
        return values


_SPECIAL: Final = frozenset(
    {
        "settings",
        "topic_defaults",
        "group_defaults",
        "node_id",
        "metadata_store_url",
        "log_dirs",
        "listeners",
        "advertised_listeners",
        "admin_listener",
        "inter_broker_listener",
        "max_connections_per_ip_overrides",
    }
)
_PLAIN: Final = tuple(f.name for f in fields(BrokerConfig) if f.name not in _SPECIAL)

READ_BY_SPECIAL: Final = frozenset(
    {
        "node.id",
        "broker.id",
        "metadata.store.url",
        "log.dirs",
        "log.dir",
        "listeners",
        "advertised.listeners",
        "listener.security.protocol.map",
        "controller.listener.names",
        "admin.listener",
        "inter.broker.listener.name",
        "security.inter.broker.protocol",
        "max.connections.per.ip.overrides",
        "group.consumer.min.session.timeout.ms",
        "group.consumer.max.session.timeout.ms",
        "group.consumer.min.heartbeat.interval.ms",
        "group.consumer.max.heartbeat.interval.ms",
        "group.consumer.min.assignment.interval.ms",
        "group.consumer.max.assignment.interval.ms",
        "offsets.topic.num.partitions",
        "offsets.topic.replication.factor",
        "offsets.topic.segment.bytes",
        "transaction.state.log.num.partitions",
        "transaction.state.log.replication.factor",
        "transaction.state.log.segment.bytes",
        "transaction.state.log.min.isr",
    }
)
"""Keys behind the attributes that are not simply their key's value, the bounds of what groups may have of their own
(`dynamic.py`), and the keys of topics that brokers make for themselves (`controller/internal_topics.py`)."""

KEYS_WITH_EFFECT: Final = (
    READ_BY_SPECIAL
    | {name.replace("_", ".") for name in _PLAIN}
    | {source.name for definition in TOPIC.values() for source in definition.sources}
)
"""Broker keys that change what pybroker does; the others are accepted and described, no more."""


def broker_config(values: Mapping[str, str] | None = None) -> BrokerConfig:
    """A configuration from defaults and these values: for embedding and tests. Raises ConfigError."""
    given = [(key, value, "argument") for key, value in (values or {}).items()]
    return build_broker_config(load_settings(flags=given))


def build_broker_config(settings: Settings) -> BrokerConfig:
    """Builds the view and checks what no key can check alone. Raises ConfigError."""
    check_together(settings)
    node_id = _node_id(settings)
    if node_id is not None:
        settings = _with_both_ids(settings, node_id)
    log_dirs = _log_dirs(settings)
    listeners, advertised = _listeners(settings)
    store_url = _text(settings, "metadata.store.url") or f"sqlite:///{log_dirs[0]}/{_METADATA_FILE}"
    plain: dict[str, Any] = {name: settings.value(name.replace("_", ".")) for name in _PLAIN}
    return BrokerConfig(
        settings=settings,
        topic_defaults=_own_defaults(TOPIC, settings),
        group_defaults=_own_defaults(GROUP, settings),
        node_id=node_id,
        metadata_store_url=store_url,
        log_dirs=log_dirs,
        listeners=listeners,
        advertised_listeners=advertised,
        admin_listener=_admin_listener(settings),
        inter_broker_listener=inter_broker_listener(settings, listeners, store_url),
        max_connections_per_ip_overrides=_per_ip_overrides(settings),
        **plain,
    )


def _own_defaults(definitions: Mapping[str, ConfigDef], settings: Settings) -> dict[str, ConfigValue]:
    """What a topic or group without overrides has: the first of its broker keys with a value, else Kafka's default."""
    return {name: _own_default(definition, settings) for name, definition in definitions.items()}


def _own_default(definition: ConfigDef, settings: Settings) -> ConfigValue:
    for source in definition.sources:
        value = settings.value(source.name)
        if value is None:
            continue
        if source.factor == 1 or not isinstance(value, int):
            return value
        return value * source.factor if value >= 0 else -1
    return default_value(definition)


def check_together(settings: Settings) -> None:
    """The rules that join two keys. Raises ConfigError."""
    for smaller, larger in (
        ("group.min.session.timeout.ms", "group.max.session.timeout.ms"),
        ("group.consumer.min.session.timeout.ms", "group.consumer.max.session.timeout.ms"),
        ("group.consumer.min.heartbeat.interval.ms", "group.consumer.max.heartbeat.interval.ms"),
        ("log.cleaner.min.compaction.lag.ms", "log.cleaner.max.compaction.lag.ms"),
        ("replica.fetch.wait.max.ms", "replica.socket.timeout.ms"),
        ("replica.fetch.wait.max.ms", "replica.lag.time.max.ms"),
        ("broker.heartbeat.interval.ms", "broker.session.timeout.ms"),
    ):
        low, high = _number(settings, smaller), _number(settings, larger)
        if low > high:
            raise ConfigError(
                smaller,
                f"{low} is more than {larger} ({high})",
                where=settings.by_name[smaller].where,
                hint="one of the two has to change",
            )
    for name in ("log.retention.ms", "log.retention.minutes", "log.retention.hours"):
        value = settings.value(name)
        if isinstance(value, int) and (value == 0 or value < -1):
            raise ConfigError(
                name, f"{value} is not allowed; allowed: -1 or more than 0", where=settings.by_name[name].where
            )
    queued, largest = _number(settings, "queued.max.request.bytes"), _number(settings, "socket.request.max.bytes")
    if 0 <= queued < largest:
        raise ConfigError(
            "queued.max.request.bytes",
            f"{queued} would never let in a request of socket.request.max.bytes ({largest})",
            where=settings.by_name["queued.max.request.bytes"].where,
        )


def _node_id(settings: Settings) -> int | None:
    if settings.is_set("node.id"):
        return _number(settings, "node.id")
    if settings.is_set("broker.id") and _number(settings, "broker.id") >= 0:
        return _number(settings, "broker.id")
    return None


def _with_both_ids(settings: Settings, node_id: int) -> Settings:
    """`node.id` and its older name always say the same; whichever was given keeps its source."""
    given = next((settings.by_name[n] for n in ("node.id", "broker.id") if settings.is_set(n)), None)
    layer, where = (Layer.FILE, "data directory") if given is None else (given.layer, given.where)
    return settings.over(
        Setting(BROKER[name], name, node_id, layer, where)
        for name in ("node.id", "broker.id")
        if settings.value(name) != node_id
    )


def _log_dirs(settings: Settings) -> tuple[str, ...]:
    key = "log.dirs" if settings.value("log.dirs") is not None else "log.dir"
    items = settings.value(key)
    assert isinstance(items, tuple)
    paths = tuple(os.path.abspath(os.path.expanduser(item)) for item in items)
    repeated = next((path for index, path in enumerate(paths) if path in paths[:index]), None)
    if repeated is not None:
        raise ConfigError(key, f"{repeated} is given twice", where=settings.by_name[key].where)
    return paths


def _admin_listener(settings: Settings) -> tuple[str, int] | None:
    key = "admin.listener"
    text = _text(settings, key)
    if not text:
        return None
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65_535:
        raise ConfigError(
            key,
            f"{text!r} is not an address",
            where=settings.by_name[key].where,
            hint="written as host:port, 127.0.0.1:9644 for example; empty for no admin server",
        )
    return host.strip("[]"), int(port)


def _listeners(settings: Settings) -> tuple[tuple[Listener, ...], tuple[Listener, ...]]:
    protocols = parse_protocol_map(_text(settings, "listener.security.protocol.map") or "")
    left_out = settings.value("controller.listener.names") or ()
    items = settings.value("listeners")
    assert isinstance(items, tuple)
    assert isinstance(left_out, tuple)
    listeners = parse_listeners("listeners", items, protocols, left_out=left_out)
    if not listeners:
        raise ConfigError("listeners", "none is left for clients", where=settings.by_name["listeners"].where)
    unserved = next((x for x in listeners if x.protocol not in _SERVED_PROTOCOLS), None)
    if unserved is not None:
        raise ConfigError(
            "listeners",
            f"{unserved.name} speaks {unserved.protocol}, which this version does not serve yet",
            where=settings.by_name["listeners"].where,
            hint=f"served: {', '.join(_SERVED_PROTOCOLS)}",
        )
    advertised_items = settings.value("advertised.listeners") or ()
    assert isinstance(advertised_items, tuple)
    advertised = parse_listeners("advertised.listeners", advertised_items, protocols, left_out=left_out)
    names = {listener.name for listener in listeners}
    for told in advertised:
        if told.name not in names:
            raise ConfigError(
                "advertised.listeners",
                f"{told.name} is no listener; listeners are {', '.join(sorted(names))}",
                where=settings.by_name["advertised.listeners"].where,
            )
        if told.host in ("", "0.0.0.0", "::"):
            raise ConfigError(
                "advertised.listeners",
                f"{told} is an address that no client can connect to",
                where=settings.by_name["advertised.listeners"].where,
                hint="name a host, or leave the key out: each client is then told an address it can reach",
            )
    return listeners, advertised


def _per_ip_overrides(settings: Settings) -> dict[str, int]:
    key = "max.connections.per.ip.overrides"
    found: dict[str, int] = {}
    for item in (_text(settings, key) or "").split(","):
        if not item.strip():
            continue
        host, colon, count = item.strip().rpartition(":")
        if not colon or not host or not count.strip().isdecimal():
            raise ConfigError(key, f"{item.strip()!r} is not a pair address:count", where=settings.by_name[key].where)
        found[host.strip("[]")] = int(count)
    return found


def _number(settings: Settings, name: str) -> int:
    value = settings.value(name)
    assert isinstance(value, int)
    return value


def _text(settings: Settings, name: str) -> str | None:
    value = settings.value(name)
    assert value is None or isinstance(value, str)
    return value
