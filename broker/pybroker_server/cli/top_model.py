"""What `pybroker top` shows, made of two looks at the brokers' metrics.

Rules of this file: pure. A look is the parsed text of `/metrics`; rates and latencies are those between two looks, and
a counter that went back (a broker was restarted) counts from nothing. The field names are those of the JSON output:
stable and tested.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

Labels = frozenset[tuple[str, str]]
Series = Mapping[Labels, float]
_PERCENT: Final = 100
_NO_LABELS: Labels = frozenset()


@dataclass(frozen=True, slots=True)
class Look:
    """One broker's metrics at one time. `at_s` is monotonic."""

    address: str
    at_s: float
    metrics: Mapping[str, Series]

    def series(self, name: str) -> Series:
        return self.metrics.get(name, {})

    def value(self, name: str) -> float:
        """Of a metric without labels; 0 when it is not told."""
        return self.series(name).get(_NO_LABELS, 0.0)

    def total(self, name: str, **labels: str) -> float:
        """The sum over the series that have these labels."""
        wanted = labels.items()
        return sum(value for has, value in self.series(name).items() if wanted <= has)

    def labels_of(self, name: str) -> dict[str, str]:
        """Those of an info metric, which has one series."""
        return next((dict(labels) for labels in self.series(name)), {})


@dataclass(frozen=True, slots=True)
class Failure:
    """A broker whose metrics could not be read."""

    address: str
    reason: str


@dataclass(slots=True)
class BrokerRow:
    node_id: int
    address: str
    version: str
    ready: bool
    cpu_percent: float | None
    resident_bytes: int
    connections: int
    requests_per_s: float | None
    errors_per_s: float | None
    records_in_per_s: float | None
    bytes_in_per_s: float | None
    bytes_out_per_s: float | None
    produce_p50_ms: float | None
    produce_p99_ms: float | None
    fetch_p50_ms: float | None
    fetch_p99_ms: float | None
    fsync_p99_ms: float | None
    loop_lag_p99_ms: float | None


@dataclass(slots=True)
class TopicRow:
    topic: str
    partitions: int = 0
    under_replicated: int = 0
    records_in_per_s: float | None = None
    bytes_in_per_s: float | None = None
    bytes_out_per_s: float | None = None
    log_size_bytes: int = 0


@dataclass(slots=True)
class GroupRow:
    group: str
    state: str
    members: int
    lag: int
    read_per_s: float | None


@dataclass(slots=True)
class View:
    """Topics by bytes in, groups by lag; the largest first."""

    cluster_id: str = ""
    brokers_in_cluster: int = 0
    partitions_without_leader: int = 0
    brokers: list[BrokerRow] = field(default_factory=list)
    topics: list[TopicRow] = field(default_factory=list)
    groups: list[GroupRow] = field(default_factory=list)
    unreachable: list[Failure] = field(default_factory=list)


Pair = tuple[Look, Look | None]
"""A look, and the one before at the same broker, if there is one."""


def view_of(pairs: Sequence[Pair], failures: Sequence[Failure] = ()) -> View:
    """The screen's content."""
    view = View(unreachable=list(failures))
    view.brokers = sorted((_broker(now, before) for now, before in pairs), key=lambda row: row.node_id)
    view.cluster_id = next((now.labels_of("pybroker_info").get("cluster_id", "") for now, _ in pairs), "")
    view.brokers_in_cluster = int(max((now.value("kafka_brokers") for now, _ in pairs), default=0))
    view.partitions_without_leader = sum(
        value < 0 for now, _ in pairs for value in now.series("kafka_topic_partition_leader").values()
    )
    view.topics = _topics(pairs)
    view.groups = _groups(pairs)
    return view


def _broker(now: Look, before: Look | None) -> BrokerRow:
    info = now.labels_of("pybroker_info")
    cpu = _exact_rate(now, before, "process_cpu_seconds_total")
    return BrokerRow(
        node_id=int(info.get("node_id", -1)),
        address=now.address,
        version=info.get("version", ""),
        ready=now.value("pybroker_ready") == 1,
        cpu_percent=None if cpu is None else round(cpu * _PERCENT, 1),
        resident_bytes=int(now.value("process_resident_memory_bytes")),
        connections=int(now.total("pybroker_connections")),
        requests_per_s=_rate(now, before, "pybroker_requests_total"),
        errors_per_s=_rate(now, before, "pybroker_request_errors_total"),
        records_in_per_s=_rate(now, before, "pybroker_topic_records_in_total"),
        bytes_in_per_s=_rate(now, before, "pybroker_topic_bytes_in_total"),
        bytes_out_per_s=_rate(now, before, "pybroker_topic_bytes_out_total"),
        produce_p50_ms=_latency_ms(now, before, "pybroker_request_duration_seconds", 0.5, api="Produce"),
        produce_p99_ms=_latency_ms(now, before, "pybroker_request_duration_seconds", 0.99, api="Produce"),
        fetch_p50_ms=_latency_ms(now, before, "pybroker_request_duration_seconds", 0.5, api="Fetch"),
        fetch_p99_ms=_latency_ms(now, before, "pybroker_request_duration_seconds", 0.99, api="Fetch"),
        fsync_p99_ms=_latency_ms(now, before, "pybroker_fsync_duration_seconds", 0.99),
        loop_lag_p99_ms=_latency_ms(now, before, "pybroker_event_loop_lag_seconds", 0.99),
    )


def _topics(pairs: Sequence[Pair]) -> list[TopicRow]:
    rows: dict[str, TopicRow] = {}
    for now, before in pairs:
        for labels in now.series("pybroker_topic_records_in_total"):
            topic = dict(labels)["topic"]
            row = rows.setdefault(topic, TopicRow(topic))
            row.records_in_per_s = _plus(
                row.records_in_per_s, _rate(now, before, "pybroker_topic_records_in_total", topic=topic)
            )
            row.bytes_in_per_s = _plus(
                row.bytes_in_per_s, _rate(now, before, "pybroker_topic_bytes_in_total", topic=topic)
            )
            row.bytes_out_per_s = _plus(
                row.bytes_out_per_s, _rate(now, before, "pybroker_topic_bytes_out_total", topic=topic)
            )
        for name, attribute in (
            ("kafka_topic_partitions", "partitions"),
            ("kafka_topic_partition_under_replicated_partition", "under_replicated"),
            ("pybroker_partition_log_size_bytes", "log_size_bytes"),
        ):
            for topic, total in _by_label(now.series(name), "topic").items():
                row = rows.setdefault(topic, TopicRow(topic))
                setattr(row, attribute, getattr(row, attribute) + int(total))
    return sorted(rows.values(), key=lambda row: (-(row.bytes_in_per_s or 0), -row.log_size_bytes, row.topic))


def _groups(pairs: Sequence[Pair]) -> list[GroupRow]:
    rows = []
    for now, before in pairs:
        lags = _by_label(now.series("kafka_consumergroup_lag"), "consumergroup")
        members = _by_label(now.series("kafka_consumergroup_members"), "consumergroup")
        for labels in now.series("pybroker_consumergroup_info"):
            info = dict(labels)
            name = info["consumergroup"]
            read = _rate(now, before, "kafka_consumergroup_current_offset", consumergroup=name)
            rows.append(GroupRow(name, info.get("state", ""), int(members.get(name, 0)), int(lags.get(name, 0)), read))
    return sorted(rows, key=lambda row: (-row.lag, row.group))


def _by_label(series: Series, label: str) -> dict[str, float]:
    sums: dict[str, float] = defaultdict(float)
    for labels, value in series.items():
        sums[dict(labels)[label]] += value
    return sums


def _rate(now: Look, before: Look | None, name: str, **labels: str) -> float | None:
    """Per second, between two looks, to a tenth; None with one look only."""
    exact = _exact_rate(now, before, name, **labels)
    return None if exact is None else round(exact, 1)


def _exact_rate(now: Look, before: Look | None, name: str, **labels: str) -> float | None:
    if before is None or now.at_s <= before.at_s:
        return None
    wanted = labels.items()
    earlier = before.series(name)
    grown = sum(_grown(value, earlier.get(has, 0.0)) for has, value in now.series(name).items() if wanted <= has)
    return grown / (now.at_s - before.at_s)


def _grown(now: float, before: float) -> float:
    return now - before if now >= before else now


def _plus(known: float | None, more: float | None) -> float | None:
    return more if known is None else known if more is None else round(known + more, 1)


def _latency_ms(now: Look, before: Look | None, name: str, quantile: float, **labels: str) -> float | None:
    """Of what was counted between two looks; since the start with one. None when nothing was."""
    wanted = labels.items()
    earlier = before.series(f"{name}_bucket") if before is not None else {}
    below: dict[float, float] = defaultdict(float)
    for has, value in now.series(f"{name}_bucket").items():
        if wanted <= has:
            below[float(dict(has)["le"])] += _grown(value, earlier.get(has, 0.0))
    found = quantile_of(sorted(below.items()), quantile)
    return None if found is None else round(found * 1000, 3)


def quantile_of(cumulative: Iterable[tuple[float, float]], quantile: float) -> float | None:
    """As Prometheus reckons it: evenly spread within the bucket that has it. (bound, count below it), ascending."""
    buckets = list(cumulative)
    if not buckets or not buckets[-1][1]:
        return None
    wanted = quantile * buckets[-1][1]
    low = counted = 0.0
    for bound, count in buckets:
        if count >= wanted:
            if bound == float("inf"):
                return low
            return low + (bound - low) * ((wanted - counted) / (count - counted) if count > counted else 1)
        low, counted = bound, count
    return low
