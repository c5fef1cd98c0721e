"""DescribeLogDirs (key 35), versions 1 to 5: where this broker's replicas lie and how large they are.

Every log directory is listed, also those that hold nothing of what was asked, and those that are offline. Space on the
volume is asked of the operating system off the event loop. Nothing is moved between directories yet, so no log is
a future one, and none is cordoned.
"""

from __future__ import annotations

from collections.abc import Sequence

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode
from pybroker_protocol.messages import DescribeLogDirsRequest, DescribeLogDirsResponse
from pybroker_server.handlers.registry import handles
from pybroker_server.handlers.request import Pending, RequestContext
from pybroker_server.handlers.services import Services
from pybroker_server.replica.partition import Partition

DirectoryResult = DescribeLogDirsResponse.DescribeLogDirsResult
TopicResult = DescribeLogDirsResponse.DescribeLogDirsTopic
PartitionResult = DescribeLogDirsResponse.DescribeLogDirsPartition

Space = tuple[int, int]
"""(total bytes, usable bytes) of a volume; -1 for what cannot be told."""
_UNKNOWN: Space = (-1, -1)


@handles(ApiKey.DESCRIBE_LOG_DIRS, 1, 5)
def handle_describe_log_dirs(
    services: Services, context: RequestContext, request: DescribeLogDirsRequest
) -> Pending[DescribeLogDirsResponse]:
    """See the head of this file."""
    directories = services.logs.directories
    results = [
        DirectoryResult(
            log_dir=directory.path, error_code=ErrorCode.NONE if directory.is_online else ErrorCode.KAFKA_STORAGE_ERROR
        )
        for directory in directories
    ]
    for result, directory in zip(results, directories, strict=True):
        if directory.is_online:
            inside = f"{directory.path}/"
            result.topics = _topics([p for p in _asked(services, request) if p.log.directory.startswith(inside)])
    pending: Pending[DescribeLogDirsResponse] = Pending()

    def ask_system() -> list[Space]:
        return [_space_of(services, result) for result in results]

    def done(spaces: list[Space] | None, error: BaseException | None) -> None:
        for result, space in zip(results, spaces or [_UNKNOWN] * len(results), strict=True):
            result.total_bytes, result.usable_bytes = space
        pending.complete(DescribeLogDirsResponse(results=results))
        if error is not None:
            raise error

    services.runtime.blocking.submit(ask_system, done)
    return pending


def _space_of(services: Services, result: DirectoryResult) -> Space:
    """Runs in a thread."""
    if result.error_code != ErrorCode.NONE:
        return _UNKNOWN
    disk = services.runtime.disk
    try:
        return disk.total_bytes(result.log_dir), disk.free_bytes(result.log_dir)
    except OSError:
        return _UNKNOWN


def _asked(services: Services, request: DescribeLogDirsRequest) -> Sequence[Partition]:
    """The partitions of this broker that are asked for, each once; those it does not have are left out."""
    if request.topics is None:
        return services.replicas.all_partitions()
    found: dict[tuple[str, int], Partition] = {}
    for topic in request.topics:
        hosted = services.replicas.topics.get(topic.topic)
        for index in topic.partitions:
            if hosted is not None and index in hosted.partitions:
                found[topic.topic, index] = hosted.partitions[index]
    return list(found.values())


def _topics(partitions: Sequence[Partition]) -> list[TopicResult]:
    topics: dict[str, TopicResult] = {}
    for partition in partitions:
        log = partition.log
        result = PartitionResult(
            partition_index=partition.index,
            partition_size=log.size_bytes,
            # What this log lacks of what is committed: nothing on a leader, something on a follower.
            offset_lag=max(partition.high_watermark - log.log_end_offset, 0),
        )
        topics.setdefault(partition.topic, TopicResult(name=partition.topic)).partitions.append(result)
    return list(topics.values())
