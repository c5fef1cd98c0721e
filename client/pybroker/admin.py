"""The admin: topics, configurations and offsets, from code.

Rules: every call answers for exactly what it was asked, or raises what made it fail. What may be tried again is tried
again until `timeout` (seconds) is over; a change that may have been made before an answer was lost is recognised where
the broker can tell (a topic that exists now, after a first try).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, TypeVar
from uuid import UUID

from pybroker.client import DEFAULT_BOOTSTRAP, Client
from pybroker.errors import AlreadyExists, KafkaError, NotFound, Retriable, TimedOut, error_for
from pybroker.metadata import NO_LEADER, Broker, TopicPartition
from pybroker.offsets import ask_offsets
from pybroker.partition_reader import Start
from pybroker.retry import Backoff
from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode
from pybroker_protocol.messages import (
    CreatePartitionsRequest,
    CreateTopicsRequest,
    DeleteRecordsRequest,
    DeleteTopicsRequest,
    DescribeClusterRequest,
    DescribeConfigsRequest,
    IncrementalAlterConfigsRequest,
    MetadataRequest,
    MetadataResponse,
)
from pybroker_protocol.schema.classes import Message

__all__ = ["Admin", "ClusterInfo", "ConfigEntry", "PartitionInfo", "TopicInfo"]

T = TypeVar("T")

_TOPIC: Final = 2
_BROKER: Final = 4
_SET: Final = 0
_DELETE: Final = 1
_SOURCES: Final = {
    1: "topic",
    2: "dynamic broker",
    3: "dynamic cluster",
    4: "broker file",
    5: "default",
    6: "broker logger",
}
HIGH_WATERMARK: Final = -1


@dataclass(frozen=True, slots=True)
class PartitionInfo:
    """One partition: its leader (-1 without one), replicas and in-sync replicas by node id."""

    index: int
    leader: int
    leader_epoch: int
    replicas: tuple[int, ...]
    isr: tuple[int, ...]
    offline: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TopicInfo:
    name: str
    topic_id: UUID
    is_internal: bool
    partitions: tuple[PartitionInfo, ...]

    @property
    def replication_factor(self) -> int:
        return len(self.partitions[0].replicas) if self.partitions else 0


@dataclass(frozen=True, slots=True)
class ConfigEntry:
    """A setting. `source` is "topic", "dynamic broker", "dynamic cluster", "broker file" or "default"."""

    name: str
    value: str | None
    source: str
    is_read_only: bool
    is_sensitive: bool
    documentation: str | None = None

    @property
    def is_default(self) -> bool:
        return self.source == "default"


@dataclass(frozen=True, slots=True)
class ClusterInfo:
    cluster_id: str
    controller_id: int
    brokers: tuple[Broker, ...]


class Admin:
    """Administers a cluster: `async with Admin("host:9092") as admin: await admin.create_topic("t")`."""

    def __init__(
        self,
        bootstrap: str | Sequence[str] = DEFAULT_BOOTSTRAP,
        *,
        client: Client | None = None,
        timeout: float = 30.0,
    ) -> None:
        """`timeout`: seconds that a call may take in all."""
        self._owns_client = client is None
        self.client = client if client is not None else Client(bootstrap)
        self._timeout = timeout
        self._backoff = Backoff()

    async def __aenter__(self) -> Admin:
        if self._owns_client:
            await self.client.open()
        self.client.check()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        if self._owns_client:
            await self.client.close()

    # Topics.

    async def create_topic(
        self,
        name: str,
        *,
        partitions: int = -1,
        replication: int = -1,
        configs: Mapping[str, str] | None = None,
        exist_ok: bool = False,
        validate_only: bool = False,
    ) -> bool:
        """Make a topic; -1 takes the broker's defaults. Whether it was made (False: it was there, with `exist_ok`).

        Raises `AlreadyExists`, or `Rejected` for a name, a number or a configuration that cannot be.
        """
        topic = CreateTopicsRequest.CreatableTopic(
            name=name,
            num_partitions=partitions,
            replication_factor=replication,
            assignments=[],
            configs=[
                CreateTopicsRequest.CreatableTopicConfig(name=key, value=value)
                for key, value in (configs or {}).items()
            ],
        )
        request = CreateTopicsRequest(topics=[topic], timeout_ms=self._timeout_ms, validate_only=validate_only)
        attempts = 0

        async def attempt() -> bool:
            nonlocal attempts
            attempts += 1
            response = await self._ask_controller(ApiKey.CREATE_TOPICS, request)
            answer = response.topics[0]
            try:
                _check(answer.error_code, f"create topic {name}", answer.error_message)
            except AlreadyExists:
                if exist_ok:
                    return False
                if attempts == 1:
                    raise
            return True

        return await self._retried(f"create topic {name}", attempt)

    async def delete_topic(self, name: str, *, missing_ok: bool = False) -> bool:
        """Delete a topic with all its records. Whether it was there. Raises `NotFound`."""
        request = DeleteTopicsRequest(
            topics=[DeleteTopicsRequest.DeleteTopicState(name=name)],
            topic_names=[name],
            timeout_ms=self._timeout_ms,
        )
        attempts = 0

        async def attempt() -> bool:
            nonlocal attempts
            attempts += 1
            response = await self._ask_controller(ApiKey.DELETE_TOPICS, request)
            answer = response.responses[0]
            if answer.error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION:
                if missing_ok or attempts > 1:
                    return attempts > 1
                raise NotFound(f"there is no topic {name}", code=ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
            _check(answer.error_code, f"delete topic {name}", answer.error_message)
            return True

        return await self._retried(f"delete topic {name}", attempt)

    async def grow_topic(self, name: str, partitions: int) -> None:
        """Give a topic more partitions, `partitions` in all. Keys are spread anew: their order is kept no longer."""
        topic = CreatePartitionsRequest.CreatePartitionsTopic(name=name, count=partitions, assignments=None)
        request = CreatePartitionsRequest(topics=[topic], timeout_ms=self._timeout_ms, validate_only=False)

        async def attempt() -> None:
            response = await self._ask_controller(ApiKey.CREATE_PARTITIONS, request)
            answer = response.results[0]
            _check(answer.error_code, f"grow topic {name}", answer.error_message)

        await self._retried(f"grow topic {name}", attempt)

    async def topics(self, *, internal: bool = False) -> list[TopicInfo]:
        """Every topic, by name; Kafka's own ones only with `internal`."""
        response = await self._retried("list topics", lambda: self._metadata(None))
        found = [_topic_info(answer) for answer in response.topics if not answer.error_code]
        return sorted((topic for topic in found if internal or not topic.is_internal), key=lambda topic: topic.name)

    async def topic(self, name: str) -> TopicInfo:
        """One topic. Raises `NotFound`."""

        async def attempt() -> TopicInfo:
            answer = (await self._metadata([name])).topics[0]
            if answer.error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION:
                raise NotFound(f"there is no topic {name}", code=ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
            _check(answer.error_code, f"describe topic {name}", None)
            return _topic_info(answer)

        return await self._retried(f"describe topic {name}", attempt)

    # Configurations.

    async def topic_configs(self, name: str) -> dict[str, ConfigEntry]:
        """The settings of a topic, defaults included. Raises `NotFound`."""
        return await self._configs(_TOPIC, name)

    async def broker_configs(self, node_id: int) -> dict[str, ConfigEntry]:
        """The settings of a broker."""
        return await self._configs(_BROKER, str(node_id))

    async def alter_topic_configs(self, name: str, changes: Mapping[str, str | None]) -> None:
        """Change settings of a topic, None for back to the default; the others stay. Raises `Rejected`."""
        await self._alter(_TOPIC, name, changes)

    async def alter_broker_configs(self, node_id: int | None, changes: Mapping[str, str | None]) -> None:
        """Change settings of one broker, or of all (None), while they run."""
        await self._alter(_BROKER, "" if node_id is None else str(node_id), changes)

    async def _configs(self, kind: int, name: str) -> dict[str, ConfigEntry]:
        resource = DescribeConfigsRequest.DescribeConfigsResource(
            resource_type=kind, resource_name=name, configuration_keys=None
        )
        request = DescribeConfigsRequest(resources=[resource], include_synonyms=False, include_documentation=True)

        async def attempt() -> dict[str, ConfigEntry]:
            if kind == _BROKER:
                response = await self.client.ask_node(int(name), ApiKey.DESCRIBE_CONFIGS, request)
            else:
                response = await self.client.ask_any(ApiKey.DESCRIBE_CONFIGS, request)
            answer = response.results[0]
            if answer.error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION:
                raise NotFound(f"there is no topic {name}", code=ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
            _check(answer.error_code, f"describe the configuration of {name}", answer.error_message)
            return {
                entry.name: ConfigEntry(
                    entry.name,
                    entry.value,
                    _SOURCES.get(entry.config_source, str(entry.config_source)),
                    entry.read_only,
                    entry.is_sensitive,
                    entry.documentation,
                )
                for entry in answer.configs
            }

        return await self._retried(f"describe the configuration of {name}", attempt)

    async def _alter(self, kind: int, name: str, changes: Mapping[str, str | None]) -> None:
        resource = IncrementalAlterConfigsRequest.AlterConfigsResource(
            resource_type=kind,
            resource_name=name,
            configs=[
                IncrementalAlterConfigsRequest.AlterableConfig(
                    name=key, config_operation=_DELETE if value is None else _SET, value=value
                )
                for key, value in changes.items()
            ],
        )
        request = IncrementalAlterConfigsRequest(resources=[resource], validate_only=False)

        async def attempt() -> None:
            response = await self._ask_controller(ApiKey.INCREMENTAL_ALTER_CONFIGS, request)
            answer = response.responses[0]
            _check(answer.error_code, f"configure {name or 'all brokers'}", answer.error_message)

        await self._retried(f"configure {name or 'all brokers'}", attempt)

    # Records.

    async def offsets(self, topic: str, start: Start, partitions: Iterable[int] | None = None) -> dict[int, int]:
        """What `start` means in each partition: "earliest", "latest", an aware datetime, or -3 for three from the end.

        Raises `NotFound`.
        """
        info = await self.topic(topic)
        wanted = [p.index for p in info.partitions] if partitions is None else list(partitions)
        self.client.track([topic])
        try:

            async def attempt() -> dict[int, int]:
                await self.client.topic(topic, time_limit=self._timeout)
                found: dict[int, int] = {}
                for node, tps in self._by_leader(topic, wanted).items():
                    answers = await ask_offsets(self.client, node, dict.fromkeys(tps, start))
                    for tp, outcome in answers.items():
                        if isinstance(outcome, KafkaError):
                            raise outcome
                        found[tp.partition] = outcome
                return dict(sorted(found.items()))

            return await self._retried(f"offsets of {topic}", attempt)
        finally:
            self.client.untrack([topic])

    async def delete_records(self, topic: str, before: Mapping[int, int]) -> dict[int, int]:
        """Delete the records before an offset, by partition; -1 deletes all. What the partitions now begin with.

        Raises `OffsetOutOfRange` for an offset that is not there.
        """
        self.client.track([topic])
        try:

            async def attempt() -> dict[int, int]:
                await self.client.topic(topic, time_limit=self._timeout)
                begins: dict[int, int] = {}
                for node, tps in self._by_leader(topic, before).items():
                    asked = [
                        DeleteRecordsRequest.DeleteRecordsPartition(
                            partition_index=tp.partition, offset=before[tp.partition]
                        )
                        for tp in tps
                    ]
                    request = DeleteRecordsRequest(
                        topics=[DeleteRecordsRequest.DeleteRecordsTopic(name=topic, partitions=asked)],
                        timeout_ms=self._timeout_ms,
                    )
                    response = await self.client.ask_node(node, ApiKey.DELETE_RECORDS, request)
                    for answer in response.topics[0].partitions:
                        _check(answer.error_code, f"delete records of {topic}-{answer.partition_index}", None)
                        begins[answer.partition_index] = answer.low_watermark
                return dict(sorted(begins.items()))

            return await self._retried(f"delete records of {topic}", attempt)
        finally:
            self.client.untrack([topic])

    # The cluster.

    async def cluster(self) -> ClusterInfo:
        request = DescribeClusterRequest(include_cluster_authorized_operations=False)

        async def attempt() -> ClusterInfo:
            response = await self.client.ask_any(ApiKey.DESCRIBE_CLUSTER, request)
            _check(response.error_code, "describe the cluster", response.error_message)
            brokers = [Broker(b.broker_id, b.host, b.port, b.rack) for b in response.brokers]
            return ClusterInfo(response.cluster_id, response.controller_id, tuple(brokers))

        return await self._retried("describe the cluster", attempt)

    # Inside.

    @property
    def _timeout_ms(self) -> int:
        return int(self._timeout * 1000)

    async def _metadata(self, names: Sequence[str] | None) -> MetadataResponse:
        topics = None if names is None else [MetadataRequest.MetadataRequestTopic(name=name) for name in names]
        request = MetadataRequest(topics=topics, allow_auto_topic_creation=False)
        response: MetadataResponse = await self.client.ask_any(ApiKey.METADATA, request)
        return response

    def _by_leader(self, topic: str, partitions: Iterable[int]) -> dict[int, list[TopicPartition]]:
        by_node: dict[int, list[TopicPartition]] = {}
        for index in partitions:
            tp = TopicPartition(topic, index)
            if self.client.cluster.partition(tp) is None:
                raise NotFound(f"{tp} does not exist", code=ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
            node = self.client.cluster.leader(tp)
            if node == NO_LEADER:
                raise Retriable(f"{tp} has no leader now", code=ErrorCode.LEADER_NOT_AVAILABLE)
            by_node.setdefault(node, []).append(tp)
        return by_node

    async def _ask_controller(self, api: ApiKey, request: Message) -> Any:
        """Ask the broker that the cluster names as its controller, any one when it names none."""
        node = self.client.cluster.controller_id
        if node not in self.client.cluster.brokers:
            return await self.client.ask_any(api, request, time_limit=self._timeout)
        return await self.client.ask_node(node, api, request, time_limit=self._timeout)

    async def _retried(self, what: str, attempt: Callable[[], Awaitable[T]]) -> T:
        """Until it succeeds, fails for good, or the time is over."""
        self.client.check()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeout
        tries = 0
        while True:
            try:
                return await attempt()
            except Retriable as error:
                tries += 1
                delay = self._backoff.delay(tries, random.random())
                if loop.time() + delay > deadline:
                    raise TimedOut(
                        f"{what}: gave up after {self._timeout:g} s: {error.message}", code=error.code
                    ) from error
                self.client.request_refresh()
                await asyncio.sleep(delay)


def _check(code: int, what: str, detail: str | None) -> None:
    if code:
        raise error_for(code, what, detail)


def _topic_info(answer: MetadataResponse.MetadataResponseTopic) -> TopicInfo:
    partitions = sorted(answer.partitions, key=lambda partition: partition.partition_index)
    return TopicInfo(
        answer.name or "",
        answer.topic_id,
        answer.is_internal,
        tuple(
            PartitionInfo(
                each.partition_index,
                each.leader_id,
                each.leader_epoch,
                tuple(each.replica_nodes),
                tuple(each.isr_nodes),
                tuple(each.offline_replicas),
            )
            for each in partitions
        ),
    )
