"""What is to be measured: a scenario, with the field names of the OpenMessaging Benchmark's workload files.

    topics partitionsPerTopic keyDistributor messageSize randomBytesRatio subscriptionsPerTopic
    consumerPerSubscription producersPerTopic producerRate consumerBacklogSizeGB testDurationMinutes
    warmupDurationMinutes

and ours beside them: see `FIELDS`. Rules: a field that is not known, or a value that cannot be, is an error that names
what would be right; nothing is silently ignored. `producerRate` is that of all producers together; 0 is as fast as the
broker takes it. Pure but for reading the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from pybroker_bench.errors import EXIT_USAGE, BenchError

CLIENTS: Final = ("sdk", "confluent-kafka", "librdkafka")
KEYS: Final = ("NO_KEY", "KEY_ROUND_ROBIN", "RANDOM_NANO", "ZIPF")
ACKS: Final = ("all", "1", "0")
COMPRESSIONS: Final = ("none", "gzip", "snappy", "lz4", "zstd")


def _named(name: str, default: object, explained: str = "") -> Any:
    metadata = {"name": name, "help": explained}
    return (
        field(default_factory=dict, metadata=metadata) if default == {} else field(default=default, metadata=metadata)
    )


@dataclass(frozen=True, slots=True)
class Scenario:
    """One measurement. Durations are seconds, sizes bytes, rates records per second of all producers together."""

    name: str = _named("name", "unnamed")
    topics: int = _named("topics", 1)
    partitions: int = _named("partitionsPerTopic", 1)
    replication_factor: int = _named("replicationFactor", -1, "-1: the broker's default")
    topic_config: Mapping[str, str] = _named("topicConfig", {}, "configuration of the topics")
    key_distributor: str = _named("keyDistributor", "NO_KEY", ", ".join(KEYS))
    message_size: int | Mapping[Any, Any] = _named("messageSize", 100, "bytes, or a mapping of sizes to weights")
    random_bytes_ratio: float = _named("randomBytesRatio", 0.5, "how much of a record does not compress")
    subscriptions: int = _named("subscriptionsPerTopic", 1)
    consumers: int = _named("consumerPerSubscription", 1)
    producers: int = _named("producersPerTopic", 1)
    rate: float = _named("producerRate", 0.0, "0: as fast as the broker takes it")
    backlog_gb: float = _named("consumerBacklogSizeGB", 0.0, "written before anything is read")
    duration_s: float = _named("testDurationMinutes", 10.0)
    warmup_s: float = _named("warmupDurationMinutes", 2.0)
    backlog_records: int = _named("consumerBacklogMessages", 0, "the backlog by count")
    is_backlog_cold: bool = _named("coldBacklog", False, "drop the backlog from the page cache before it is read")
    is_producing: bool = _named("produceDuringTest", True, "false: only the backlog is read")
    replays: int = _named("replaySubscriptions", 0, "subscriptions that read all from the start during the test")
    client: str = _named("client", "sdk", ", ".join(CLIENTS))
    consumer_client: str = _named("consumerClient", "", "the producers' when empty")
    acks: str = _named("acks", "all")
    compression: str = _named("compression", "none")
    batch_records: int = _named("batchMessages", 0, "records per batch at most; 0: as many as fit")
    batch_bytes: int = _named("batchBytes", 262_144)
    linger_ms: float = _named("lingerMs", 0.0)
    in_flight: int = _named("messagesInFlight", 0, "unacknowledged records per producer; 0: chosen by size")
    is_group: bool = _named("consumerGroups", False, "consumers join a group instead of being assigned partitions")
    churn_s: float = _named("rebalanceIntervalSeconds", 0.0, "a consumer leaves its group and comes back this often")
    kill_after_s: float = _named("killBrokerAfterSeconds", 0.0, "kill -9 of the broker that the measurement started")
    idle_connections: int = _named("idleConnections", 0, "opened before the test, silent during it")
    transaction_records: int = _named("transactionMessages", 0, "records per transaction; 0: no transactions")
    abort_ratio: float = _named("transactionAbortRatio", 0.0, "of the transactions, how many are aborted")
    processes: int = _named("processes", 1, "of producers, and as many of consumers")
    seed: int = _named("seed", 1)
    is_verified: bool = _named("verify", True, "check every record; needs 28 bytes in each")
    is_bounded: bool = _named("boundedByBacklog", False, "end when the backlog is read, whatever the time")

    @property
    def consuming_client(self) -> str:
        return self.consumer_client or self.client

    @property
    def sizes(self) -> list[tuple[int, float]]:
        """Record sizes with their weights."""
        if isinstance(self.message_size, Mapping):
            return [(int(size), float(weight)) for size, weight in self.message_size.items()]
        return [(int(self.message_size), 1.0)]

    @property
    def mean_bytes(self) -> float:
        weights = sum(weight for _, weight in self.sizes)
        return sum(size * weight for size, weight in self.sizes) / weights

    @property
    def all_producers(self) -> int:
        return self.topics * self.producers

    @property
    def all_subscriptions(self) -> int:
        return self.subscriptions + self.replays

    @property
    def backlog(self) -> int:
        """Records written before anything is read."""
        return self.backlog_records or int(self.backlog_gb * 1e9 / self.mean_bytes)

    def with_(self, **changes: Any) -> Scenario:
        return checked(replace(self, **changes))

    def to_json(self) -> dict[str, Any]:
        """By the names of the workload file; durations in minutes as there."""
        found = {each.metadata["name"]: getattr(self, each.name) for each in fields(self)}
        for name in _MINUTES:
            found[name] = found[name] / 60
        return found


FIELDS: Final = {each.metadata["name"]: each for each in fields(Scenario)}
_MINUTES: Final = ("testDurationMinutes", "warmupDurationMinutes")
_SECONDS: Final = {"testDurationSeconds": "testDurationMinutes", "warmupDurationSeconds": "warmupDurationMinutes"}
_UNUSED: Final = {"useRandomizedPayloads", "randomizedPayloadPoolSize", "payloadFile", "backlogDrainRatio"}
"""OpenMessaging's that have no meaning here: every payload is made from the seed."""


def from_mapping(given: Mapping[str, Any]) -> Scenario:
    """A scenario from the fields of a workload file. Raises BenchError for what is not known or cannot be."""
    values: dict[str, Any] = {}
    for name, value in given.items():
        if name in _UNUSED:
            continue
        seconds = 1.0
        if name in _SECONDS:
            name = _SECONDS[name]
        elif name in _MINUTES:
            seconds = 60.0
        known = FIELDS.get(name)
        if known is None:
            close = get_close_matches(name, [*FIELDS, *_SECONDS], n=1)
            hint = f"did you mean {close[0]}?" if close else f"known are: {', '.join([*FIELDS, *_SECONDS])}"
            raise BenchError(f"the scenario has a field {name!r} that is not known", hint=hint, code=EXIT_USAGE)
        if name in _MINUTES:
            values[known.name] = _number(name, value) * seconds
        else:
            values[known.name] = _typed(name, known, value)
    return checked(Scenario(**values))


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BenchError(f"{name}: {value!r} is not a number", code=EXIT_USAGE)
    return float(value)


def _typed(name: str, known: Any, value: Any) -> Any:
    if name == "messageSize":
        return value
    if name == "acks":
        return str(value)
    if known.default is MISSING:
        return _properties(name, value)
    wanted = type(known.default)
    if wanted is float:
        return _number(name, value)
    if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
        kinds = {int: "a whole number", bool: "true or false", str: "text"}
        raise BenchError(f"{name}: {value!r} is not {kinds[wanted]}", code=EXIT_USAGE)
    return value


def _properties(name: str, value: Any) -> dict[str, str]:
    """A mapping, or lines of key=value as OpenMessaging's drivers write them."""
    if isinstance(value, str):
        pairs = [line.partition("=") for line in value.splitlines() if "=" in line]
        return {key.strip(): text.strip() for key, _, text in pairs}
    if not isinstance(value, Mapping):
        raise BenchError(f"{name}: {value!r} is no mapping of keys to values", code=EXIT_USAGE)
    return {str(key): str(each) for key, each in value.items()}


def load(path: Path) -> dict[str, Any]:
    """The fields of a workload file. Raises BenchError when it cannot be read."""
    try:
        import yaml
    except ImportError:
        raise BenchError("scenario files need PyYAML", hint='pip install "pybroker[bench]"', code=EXIT_USAGE) from None
    try:
        found = yaml.safe_load(path.read_text())
    except OSError as error:
        raise BenchError(f"cannot read {path}", cause=error.strerror, code=EXIT_USAGE) from None
    except yaml.YAMLError as error:
        raise BenchError(f"{path} is no YAML", cause=str(error), code=EXIT_USAGE) from None
    if not isinstance(found, dict):
        raise BenchError(f"{path} is no mapping of fields to values", code=EXIT_USAGE)
    return found


def checked(scenario: Scenario) -> Scenario:
    """Raises BenchError for a value that cannot be, or two that cannot go together."""
    choices = {
        "client": CLIENTS,
        "consumer_client": ("", *CLIENTS),
        "key_distributor": KEYS,
        "acks": ACKS,
        "compression": COMPRESSIONS,
    }
    for name, allowed in choices.items():
        value = getattr(scenario, name)
        if value not in allowed:
            raise BenchError(f"{name}: {value!r} is none of {', '.join(filter(None, allowed))}", code=EXIT_USAGE)
    for name in ("topics", "partitions", "consumers", "processes"):
        if getattr(scenario, name) < 1:
            raise BenchError(f"{name} must be at least 1", code=EXIT_USAGE)
    smallest = min(size for size, _ in scenario.sizes)
    for wrong, what, hint in (
        (smallest < 1, "messageSize must be at least 1", None),
        (scenario.partitions > 65_535, "partitionsPerTopic can be at most 65535", None),
        (
            scenario.transaction_records > 0 and scenario.client == "librdkafka",
            "the client librdkafka does not do transactions here",
            "--client confluent-kafka",
        ),
        (
            scenario.churn_s > 0 and not scenario.is_group,
            "rebalanceIntervalSeconds needs consumerGroups: true",
            None,
        ),
        (
            not scenario.is_producing and not scenario.backlog,
            "without produceDuringTest there must be a backlog to read",
            "set consumerBacklogMessages",
        ),
    ):
        if wrong:
            raise BenchError(what, hint=hint, code=EXIT_USAGE)
    if smallest < _STAMP_BYTES and scenario.is_verified:
        return replace(scenario, is_verified=False)
    return scenario


_STAMP_BYTES: Final = 28
