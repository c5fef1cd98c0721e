"""Every metric that `/metrics` tells: name, type, labels, meaning, each in one place.

Rules of this file: declarations only; what is measured is in the `*_view.py` files. Names are kafka_exporter's where it
has one, so that its dashboards work, else begin with `pybroker_`. A declaration is a line

    name | type | labels | what it says

and one table per section of the documentation. Types are Prometheus's; `untyped` is a gauge whose name ends as only a
histogram's may.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

CLUSTER = """
kafka_brokers | gauge | | Brokers of the cluster that are registered and not fenced.
kafka_broker_info | gauge | id address | 1 for each of these brokers, with the first address that it tells clients.
kafka_topic_partitions | gauge | topic | Partitions of the topic.
kafka_topic_partition_current_offset | gauge | topic partition | The high watermark: where the next record that \
consumers see will be.
kafka_topic_partition_oldest_offset | gauge | topic partition | The first offset that is still there.
kafka_topic_partition_leader | gauge | topic partition | Node id of the leader, -1 without one.
kafka_topic_partition_replicas | gauge | topic partition | Replicas of the partition.
kafka_topic_partition_in_sync_replica | gauge | topic partition | Replicas that are in sync.
kafka_topic_partition_leader_is_preferred | gauge | topic partition | 1 if the leader is the first of the replicas.
kafka_topic_partition_under_replicated_partition | gauge | topic partition | 1 if a replica is not in sync.
kafka_consumergroup_members | gauge | consumergroup | Members of the group.
kafka_consumergroup_current_offset | gauge | consumergroup topic partition | The offset that the group has committed.
kafka_consumergroup_current_offset_sum | untyped | consumergroup topic | The same, summed over the topic's partitions.
kafka_consumergroup_lag | gauge | consumergroup topic partition | Records between the committed offset and the high \
watermark.
kafka_consumergroup_lag_sum | untyped | consumergroup topic | The same, summed over the topic's partitions.
pybroker_consumergroup_info | gauge | consumergroup protocol state | 1, with the group's protocol (classic, consumer) \
and state.
"""

REQUESTS = """
pybroker_requests_total | counter | api version | Requests that were read and understood.
pybroker_request_duration_seconds | histogram | api | From the bytes of a request to those of its answer, waiting for \
replicas, flushes and new records included.
pybroker_request_bytes_total | counter | api | Bytes of requests, without the four of their size.
pybroker_response_bytes_total | counter | api | Bytes of answers.
pybroker_request_errors_total | counter | api error | Errors told to clients: per request, and for Produce and Fetch \
per partition.
pybroker_request_bugs_total | counter | | Requests that met a bug of the broker; the log has their tracebacks.
pybroker_requests_with_trailing_bytes_total | counter | | Requests with bytes behind their end, which are let pass.
pybroker_connections | gauge | listener | Connections that are open.
pybroker_connections_accepted_total | counter | | Connections that were accepted.
pybroker_connections_refused_total | counter | kind | Connections that were refused or closed for what the peer did.
pybroker_half_received_requests | gauge | | Connections in the middle of a request.
pybroker_request_memory_bytes | gauge | | Memory of requests that are not complete yet.
pybroker_request_memory_limit_bytes | gauge | | What it may grow to (`queued.max.request.bytes`).
pybroker_waiting_operations | gauge | | Produces that wait for replicas or a flush, and fetches that wait for records.
pybroker_fetch_sessions | gauge | | Incremental fetch sessions that are remembered.
"""

TOPICS = """
pybroker_topic_records_in_total | counter | topic | Records appended by this broker as leader.
pybroker_topic_batches_in_total | counter | topic | Batches appended by this broker as leader.
pybroker_topic_bytes_in_total | counter | topic | Bytes of these batches.
pybroker_topic_bytes_out_total | counter | topic | Bytes of records given to consumers.
pybroker_topic_bytes_replicated_total | counter | topic | Bytes of records given to followers.
pybroker_partitions | gauge | role | Partitions on this broker that lead, follow, or are offline.
pybroker_follower_lag_records | gauge | topic partition replica | For led partitions: records that a follower does not \
have yet.
pybroker_isr_shrinks_total | counter | | Replicas that leaders here wanted out of the ISR.
pybroker_isr_expansions_total | counter | | Replicas that leaders here wanted in the ISR.
pybroker_under_min_isr_partitions | gauge | | Led partitions with too few replicas in sync for acks=all.
pybroker_partition_high_watermark | gauge | topic partition | As this replica knows it.
pybroker_partition_log_end_offset | gauge | topic partition | Where this replica's log ends.
pybroker_partition_last_stable_offset | gauge | topic partition | Where readers of committed transactions are stopped.
pybroker_partition_unflushed_records | gauge | topic partition | Records of this replica that are not on the device yet.
pybroker_partition_log_size_bytes | gauge | topic partition | Size of this replica's segments.
pybroker_partition_log_segments | gauge | topic partition | Segments of this replica.
"""

STORAGE = """
pybroker_fsync_duration_seconds | histogram | | Time of one flush of one log to the device.
pybroker_log_directory_online | gauge | directory | 1, or 0 after the directory failed.
pybroker_log_directory_free_bytes | gauge | directory | Bytes that may still be written on its volume.
pybroker_log_directory_total_bytes | gauge | directory | Size of its volume.
pybroker_cleaner_passes_total | counter | | Logs that were compacted to the end of a pass.
pybroker_cleaner_read_bytes_total | counter | | Size of the compacted segments before.
pybroker_cleaner_written_bytes_total | counter | | Size of the compacted segments after.
pybroker_cleaner_uncleanable_logs | gauge | | Logs that cannot be compacted until the next start; the log says why.
"""

PROCESS = """
pybroker_info | gauge | version node_id cluster_id durability | 1, with what this broker is.
pybroker_ready | gauge | | 1 while `/readyz` says yes.
pybroker_metadata_revision | gauge | | Revision of the metadata store that this broker has seen.
pybroker_event_loop_lag_seconds | histogram | | How late timers fire, two samples a second.
pybroker_blocking_work | gauge | | Pieces of work given to threads and not finished.
pybroker_buffer_pool_idle_bytes | gauge | | Buffers that are kept for the next requests.
"""

SECTIONS: Final = (
    ("The cluster, its topics and groups", CLUSTER),
    ("Requests and connections", REQUESTS),
    ("Topics and partitions on this broker", TOPICS),
    ("Storage", STORAGE),
    ("The process", PROCESS),
)


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. `type` is counter, gauge, histogram or untyped."""

    name: str
    type: str
    labels: tuple[str, ...]
    doc: str


def parse(text: str) -> list[Metric]:
    """Reads declarations. A mistake in a table is a bug of ours and raises ValueError at import."""
    found = []
    for line in text.splitlines():
        if line:
            name, kind, labels, doc = (part.strip() for part in line.split("|"))
            found.append(Metric(name, kind, tuple(labels.split()), doc))
    return found


METRICS: Final = {metric.name: metric for _, text in SECTIONS for metric in parse(text)}
"""By name, in the order of the documentation."""
