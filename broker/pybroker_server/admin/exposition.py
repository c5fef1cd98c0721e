"""From rows to the text that Prometheus reads, in the format that it asks for.

Rules of this file: runs in a thread, since a broker with many partitions has many rows; imported with the first scrape,
since prometheus-client takes its time. Whatever needs a system call is asked here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    UnknownMetricFamily,
)
from prometheus_client.registry import Collector, CollectorRegistry

from pybroker_server.admin.rows import Rows, Value
from pybroker_server.admin.table import METRICS
from pybroker_server.runtime.ports import Disk
from pybroker_server.telemetry.counts import BOUNDS_S, Durations

_FAMILIES = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily, "untyped": UnknownMetricFamily}
_BOUNDS = (*(repr(bound) for bound in BOUNDS_S), "+Inf")

_nowhere = CollectorRegistry(auto_describe=False)
_PROCESS: tuple[Collector, ...] = tuple(
    make(registry=_nowhere) for make in (ProcessCollector, PlatformCollector, GCCollector)
)
"""The process itself under the names that Prometheus's clients agree on: `process_*` and `python_*`."""


def expose(rows: Rows | None, directories: Iterable[str], disk: Disk, accept: str) -> tuple[bytes, str]:
    """(body, content type) for a scrape with this Accept header. Without rows, the process alone."""
    encode, content_type = choose_encoder(accept)
    return encode(_Registry(rows, directories, disk)), content_type


class _Registry(CollectorRegistry):
    """What prometheus-client's encoders want to be given."""

    def __init__(self, rows: Rows | None, directories: Iterable[str], disk: Disk) -> None:
        super().__init__()
        self._rows = rows
        self._directories = directories
        self._disk = disk

    def collect(self) -> Iterator[Metric]:
        for collector in _PROCESS:
            yield from collector.collect()
        if self._rows is not None:
            _add_space(self._rows, self._directories, self._disk)
            yield from (_family(name, self._rows) for name in METRICS if name in self._rows.by_metric)


def _add_space(rows: Rows, directories: Iterable[str], disk: Disk) -> None:
    for path in directories:
        try:
            free, total = disk.free_bytes(path), disk.total_bytes(path)
        except OSError:
            continue  # a directory that failed: `pybroker_log_directory_online` says so
        rows.add("pybroker_log_directory_free_bytes", free, path)
        rows.add("pybroker_log_directory_total_bytes", total, path)


def _family(name: str, rows: Rows) -> Metric:
    metric = METRICS[name]
    samples = rows.by_metric[name]
    if metric.type == "histogram":
        return _histogram(name, samples)
    family: Metric = _FAMILIES[metric.type](name, metric.doc, labels=metric.labels)
    for labels, value in samples:
        assert not isinstance(value, Durations)
        family.add_metric(labels, value)  # type: ignore[attr-defined]  # each of the three has it
    return family


def _histogram(name: str, samples: list[tuple[tuple[str, ...], Value]]) -> Metric:
    metric = METRICS[name]
    family = HistogramMetricFamily(name, metric.doc, labels=metric.labels)
    for labels, value in samples:
        assert isinstance(value, Durations)
        family.add_metric(labels, list(zip(_BOUNDS, value.cumulative(), strict=True)), value.total_s)
    return family
