"""Writes `docs/observability.md` from the tables of metrics and events.

    python -m pybroker_server.admin.document     prints the page

A tool: nothing imports this at run time but the test that keeps the page fresh.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

from pybroker_server.admin.table import SECTIONS, Metric, parse
from pybroker_server.telemetry.events import EVENTS

_HEAD = """# Observability

Generated from the tables that the broker uses: `make docs`.

## The admin server

Every broker opens a port for HTTP beside its listeners, `admin.listener`, on `127.0.0.1:9644` unless told otherwise:
only this machine can read it. In a container, or to let Prometheus in from elsewhere: `--admin-listener
0.0.0.0:9644`. It has no authentication, and no path that changes anything. An empty value is no admin server; port 0
is any port, which the log names. When another process has the default port the broker serves without it and says so
in one line; an address that was set is an error instead.

| path | answer |
|---|---|
| `/metrics` | Prometheus's text format, or OpenMetrics when it is asked for |
| `/livez` | 200 while the event loop goes round, also during recovery: for a liveness probe |
| `/readyz` | 200 while clients are served, else 503 with the reason: for a readiness probe |
| `/v1/status/ready` | the same as Redpanda spells it: `{"status": "ready"}` or 503 `{"status": "booting"}` |

The port is open from the start; HTTP and metrics are loaded with the first connection, so that a broker that nobody
scrapes starts sooner and is smaller. A scrape reads counters that are there anyway and is formatted in a thread.

## Looking at it

- `pybroker top -a HOST:PORT,...`: brokers, topics and groups with rates, latencies and lag, renewed each second.
- `pybroker health`: exit code 0 while the broker of these settings serves. For `HEALTHCHECK`; needs no HTTP client.
- `pybroker group lag --watch`: how far groups are behind, by partition, of any Kafka.
- `docker/grafana/dashboards/pybroker.json`: a dashboard, which `docker/compose.monitoring.yaml` provisions
  ([containers](containers.md)).

## Metrics

Names of the first table are kafka_exporter's, so that its dashboards work; a sum over all brokers of a cluster is
right, because each series comes from one broker: a partition's from its leader, a group's from its coordinator, the
rest from the live broker with the lowest node id. A group's lag is told for partitions of which its coordinator has a
replica; for the others it is `kafka_topic_partition_current_offset - on(topic, partition) group_right
kafka_consumergroup_current_offset`.

Histograms have buckets from 64 µs to 33.5 s, each twice the one before. `process_*` and `python_*` are Prometheus's
usual metrics of a process: CPU time, resident memory, open files, garbage collections.
"""

_EVENTS = """
## Events

One line per event, on standard output: `[time] LEVEL event key=value ... (part)`, or with `--log-format json`
(`PYBROKER_LOG_FORMAT=json`) one JSON object with `time`, `level`, `logger`, `event` and the facts. `--log-level` sets
the least that is told. Nothing is logged per request or per record; what a peer could make the broker repeat is told
once in ten seconds, with how often it happened. Text that comes from peers is escaped and cut.

| event | what it means |
|---|---|
"""


def page() -> str:
    """The whole page."""
    parts = [_HEAD]
    for title, text in SECTIONS:
        parts += [f"\n### {title}\n\n", *_rows(parse(text))]
    parts += [_EVENTS, *(f"| `{name}` | {meaning} |\n" for name, meaning in EVENTS.items())]
    return "".join(parts)


def _rows(metrics: Iterable[Metric]) -> Iterable[str]:
    yield "| metric | type | labels | |\n|---|---|---|---|\n"
    for metric in metrics:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        yield f"| `{metric.name}` | {metric.type} | {labels} | {metric.doc} |\n"


if __name__ == "__main__":
    sys.stdout.write(page())
