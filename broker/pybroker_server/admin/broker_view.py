"""The metrics of this broker: its requests, connections, partitions, storage and process.

Rules of this file: reads counters that the parts keep anyway; blocks nowhere. What needs a system call is told by
`exposition.py`, in a thread.
"""

from __future__ import annotations

from collections import Counter, defaultdict

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode, error_code
from pybroker_server import __version__
from pybroker_server.admin.rows import Rows
from pybroker_server.admin.sources import Sources
from pybroker_server.network.dispatcher import Route
from pybroker_server.replica.manager import HostedTopic
from pybroker_server.replica.partition import Partition
from pybroker_server.telemetry.counts import Durations


def collect(sources: Sources, rows: Rows) -> None:
    _requests(sources, rows)
    _connections(sources, rows)
    _topics(sources, rows)
    _storage(sources, rows)
    _process(sources, rows)


def api_name(api_key: int) -> str:
    """`OffsetCommit`, as Kafka's documentation and metrics spell it."""
    return "".join(word.capitalize() for word in ApiKey(api_key).name.split("_"))


def _requests(sources: Sources, rows: Rows) -> None:
    dispatcher = sources.hub.dispatcher
    by_api: dict[int, list[Route]] = defaultdict(list)
    for route in dispatcher.routes():
        by_api[route.api_key].append(route)
        rows.add("pybroker_requests_total", route.requests, api_name(route.api_key), str(route.version))
    for api_key, routes in sorted(by_api.items()):
        api = api_name(api_key)
        rows.add("pybroker_request_duration_seconds", Durations.merged(route.durations for route in routes), api)
        rows.add("pybroker_request_bytes_total", sum(route.request_bytes for route in routes), api)
        rows.add("pybroker_response_bytes_total", sum(route.response_bytes for route in routes), api)
    for api_key, code, count in dispatcher.errors:
        rows.add("pybroker_request_errors_total", count, api_name(api_key), error_code(code).name)
    rows.add("pybroker_request_bugs_total", dispatcher.failed_requests)
    rows.add("pybroker_requests_with_trailing_bytes_total", dispatcher.trailing_bytes_requests)


def _connections(sources: Sources, rows: Rows) -> None:
    hub, services = sources.hub, sources.services
    open_by_listener = Counter({listener.name: 0 for listener in services.config.listeners})
    open_by_listener.update(connection.info.listener for connection in hub.connections)
    for listener, count in open_by_listener.items():
        rows.add("pybroker_connections", count, listener)
    rows.add("pybroker_connections_accepted_total", hub.connections_made)
    for kind, count in sorted(sources.refusals.counts.items()):
        rows.add("pybroker_connections_refused_total", count, kind)
    rows.add("pybroker_half_received_requests", len(hub.half_frames))
    rows.add("pybroker_request_memory_bytes", hub.memory.held_bytes)
    rows.add("pybroker_request_memory_limit_bytes", hub.memory.budget_bytes)
    rows.add("pybroker_waiting_operations", len(services.replicas.purgatory))
    rows.add("pybroker_fetch_sessions", len(services.fetch_sessions))


def _topics(sources: Sources, rows: Rows) -> None:
    roles = {"leader": 0, "follower": 0, "offline": 0}
    under_min_isr = 0
    for hosted in sources.services.replicas.topics.values():
        _traffic(hosted, rows)
        for partition in hosted.partitions.values():
            if partition.error is not ErrorCode.NONE:
                roles["offline"] += 1
                continue
            leads = partition.is_serving_leader
            roles["leader" if leads else "follower"] += 1
            under_min_isr += leads and partition.state.is_below_min_isr
            _replica(partition, rows)
    for role, count in roles.items():
        rows.add("pybroker_partitions", count, role)
    changes = sources.isr_changes
    rows.add("pybroker_isr_shrinks_total", 0 if changes is None else changes.shrinks)
    rows.add("pybroker_isr_expansions_total", 0 if changes is None else changes.expansions)
    rows.add("pybroker_under_min_isr_partitions", under_min_isr)


def _traffic(hosted: HostedTopic, rows: Rows) -> None:
    partitions = hosted.partitions.values()
    rows.add("pybroker_topic_records_in_total", sum(each.records_in for each in partitions), hosted.name)
    rows.add("pybroker_topic_batches_in_total", sum(each.batches_in for each in partitions), hosted.name)
    rows.add("pybroker_topic_bytes_in_total", sum(each.bytes_in for each in partitions), hosted.name)
    rows.add("pybroker_topic_bytes_out_total", sum(each.bytes_out for each in partitions), hosted.name)
    replicated = sum(each.bytes_to_followers for each in partitions)
    rows.add("pybroker_topic_bytes_replicated_total", replicated, hosted.name)


def _replica(partition: Partition, rows: Rows) -> None:
    log = partition.log
    labels = (partition.topic, str(partition.index))
    rows.of("pybroker_partition_high_watermark").append((labels, partition.high_watermark))
    rows.of("pybroker_partition_log_end_offset").append((labels, log.log_end_offset))
    rows.of("pybroker_partition_last_stable_offset").append((labels, partition.last_stable_offset))
    rows.of("pybroker_partition_unflushed_records").append((labels, log.log_end_offset - log.flushed_offset))
    rows.of("pybroker_partition_log_size_bytes").append((labels, log.size_bytes))
    rows.of("pybroker_partition_log_segments").append((labels, len(log.segments)))
    if partition.is_serving_leader:
        lags = rows.of("pybroker_follower_lag_records")
        for replica, progress in partition.state.followers.items():
            # -1 until it has fetched for the first time: all of the log is missing.
            reached = max(progress.log_end_offset, log.log_start_offset)
            lags.append(((*labels, str(replica)), max(log.log_end_offset - reached, 0)))


def _storage(sources: Sources, rows: Rows) -> None:
    rows.add("pybroker_fsync_duration_seconds", sources.flusher.durations)
    for directory in sources.services.logs.directories:
        rows.add("pybroker_log_directory_online", int(directory.is_online), directory.path)
    cleaner = sources.cleaner
    rows.add("pybroker_cleaner_passes_total", cleaner.passes)
    rows.add("pybroker_cleaner_read_bytes_total", cleaner.bytes_before)
    rows.add("pybroker_cleaner_written_bytes_total", cleaner.bytes_after)
    rows.add("pybroker_cleaner_uncleanable_logs", cleaner.uncleanable_count)


def _process(sources: Sources, rows: Rows) -> None:
    services = sources.services
    config = services.config
    labels = (__version__, str(services.node_id), services.cluster_id, config.durability)
    rows.add("pybroker_info", 1, *labels)
    rows.add("pybroker_ready", int(sources.why_not_ready() is None))
    rows.add("pybroker_metadata_revision", services.metadata.image.revision)
    rows.add("pybroker_event_loop_lag_seconds", sources.loop_lag.durations)
    rows.add("pybroker_blocking_work", services.runtime.blocking.in_flight)
    rows.add("pybroker_buffer_pool_idle_bytes", services.runtime.buffers.idle_bytes)
