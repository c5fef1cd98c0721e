"""The admin: topics, configurations and records, from code; groups are in `admin_groups`, brokers in `admin_brokers`,
transactions in `admin_transactions`.

Rules: every call answers for exactly what it was asked, or raises what made it fail; what it may try again is in
`admin_calls`. A change that may have been made before an answer was lost is recognised where the broker can tell (a
topic that exists now, after a first try).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from pybroker.admin_brokers import BrokerAdmin
from pybroker.admin_calls import check
from pybroker.admin_transactions import TransactionAdmin
from pybroker.errors import AlreadyExists, KafkaError, NotFound, Retriable
from pybroker.metadata import NO_LEADER, Broker, TopicPartition
from pybroker.offsets import ask_offsets
from pybroker.partition_reader import Start
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
    MetadataResponse,
)

__all__ = ["Admin", "ClusterInfo", "ConfigEntry", "PartitionInfo", "TopicInfo"]

_TOPIC: Final = 2
_BROKER: Final = 4
_GROUP: Final = 32
_SET: Final = 0
_DELETE: Final = 1
_SOURCES: Final = {
    1: "topic",
    2: "dynamic broker",
    3: "dynamic cluster",
    4: "broker file",
    5: "default",
    6: "broker logger",
    8: "group",
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
    """A setting. `source` is "topic", "dynamic broker", "dynamic cluster", "group", "broker file" or
    "default"."""

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


class Admin(BrokerAdmin, TransactionAdmin):
    """Administers a cluster: `async with Admin("host:9092") as admin: await admin.create_topic("t")`."""

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
                check(answer.error_code, f"create topic {name}", answer.error_message)
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
            check(answer.error_code, f"delete topic {name}", answer.error_message)
            return True

        return await self._retried(f"delete topic {name}", attempt)

    async def grow_topic(self, name: str, partitions: int) -> None:
        """Give a topic more partitions, `partitions` in all. Keys are spread anew: their order is kept no longer."""
        topic = CreatePartitionsRequest.CreatePartitionsTopic(name=name, count=partitions, assignments=None)
        request = CreatePartitionsRequest(topics=[topic], timeout_ms=self._timeout_ms, validate_only=False)

        async def attempt() -> None:
            response = await self._ask_controller(ApiKey.CREATE_PARTITIONS, request)
            answer = response.results[0]
            check(answer.error_code, f"grow topic {name}", answer.error_message)

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
            check(answer.error_code, f"describe topic {name}", None)
            return _topic_info(answer)

        return await self._retried(f"describe topic {name}", attempt)

    # Configurations.

    async def topic_configs(self, name: str) -> dict[str, ConfigEntry]:
        """The settings of a topic, defaults included. Raises `NotFound`."""
        return await self._configs(_TOPIC, name)

    async def broker_configs(self, node_id: int) -> dict[str, ConfigEntry]:
        """The settings of a broker."""
        return await self._configs(_BROKER, str(node_id))

    async def group_configs(self, name: str) -> dict[str, ConfigEntry]:
        """The settings of a group, the broker's included; a group that is not there has them too."""
        return await self._configs(_GROUP, name)

    async def alter_topic_configs(self, name: str, changes: Mapping[str, str | None]) -> None:
        """Change settings of a topic, None for back to the default; the others stay. Raises `Rejected`."""
        await self._alter(_TOPIC, name, changes)

    async def alter_broker_configs(self, node_id: int | None, changes: Mapping[str, str | None]) -> None:
        """Change settings of one broker, or of all (None), while they run."""
        await self._alter(_BROKER, "" if node_id is None else str(node_id), changes)

    async def alter_group_configs(self, name: str, changes: Mapping[str, str | None]) -> None:
        """Change settings of a group, None for back to the broker's; the others stay. Raises `Rejected`."""
        await self._alter(_GROUP, name, changes)

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
            check(answer.error_code, f"describe the configuration of {name}", answer.error_message)
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
            check(answer.error_code, f"configure {name or 'all brokers'}", answer.error_message)

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
                        check(answer.error_code, f"delete records of {topic}-{answer.partition_index}", None)
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
            check(response.error_code, "describe the cluster", response.error_message)
            brokers = [Broker(b.broker_id, b.host, b.port, b.rack) for b in response.brokers]
            return ClusterInfo(response.cluster_id, response.controller_id, tuple(brokers))

        return await self._retried("describe the cluster", attempt)

    # Inside.

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
