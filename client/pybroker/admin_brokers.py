"""The admin of brokers: who is there, who controls, which replica lies where, and moving them.

Rules: a move is begun here and carried out by the cluster; `moves` tells what is under way. Node ids are numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pybroker.admin_calls import check
from pybroker.admin_groups import GroupAdmin
from pybroker.errors import KafkaError, error_for
from pybroker.metadata import TopicPartition
from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode
from pybroker_protocol.messages import (
    AlterPartitionReassignmentsRequest,
    DescribeClusterRequest,
    DescribeLogDirsRequest,
    DescribeQuorumRequest,
    ElectLeadersRequest,
    ListPartitionReassignmentsRequest,
    UnregisterBrokerRequest,
)

__all__ = ["BrokerAdmin", "BrokerInfo", "Move"]

_METADATA_TOPIC: Final = "__cluster_metadata"
_PREFERRED, _UNCLEAN = 0, 1


@dataclass(frozen=True, slots=True)
class BrokerInfo:
    """A broker that the cluster knows. One that is fenced is not there now."""

    node_id: int
    host: str
    port: int
    rack: str | None
    is_fenced: bool


@dataclass(frozen=True, slots=True)
class Move:
    """A partition on its way: all its replicas for now, those that come and those that go."""

    replicas: tuple[int, ...]
    adding: tuple[int, ...]
    removing: tuple[int, ...]


class BrokerAdmin(GroupAdmin):
    """See the head of this file."""

    async def brokers(self) -> list[BrokerInfo]:
        """Every broker by node id; those that are not there only where the cluster tells of them (Kafka 4)."""
        request = DescribeClusterRequest(include_fenced_brokers=True)

        async def attempt() -> list[BrokerInfo]:
            response = await self.client.ask_any(ApiKey.DESCRIBE_CLUSTER, request)
            check(response.error_code, "describe the cluster", response.error_message)
            found = [BrokerInfo(b.broker_id, b.host, b.port, b.rack, b.is_fenced) for b in response.brokers]
            return sorted(found, key=lambda broker: broker.node_id)

        return await self._retried("describe the cluster", attempt)

    async def controller(self) -> int:
        """The broker that leads the cluster's metadata; -1 when none does now."""
        partition = DescribeQuorumRequest.PartitionData(partition_index=0)
        topic = DescribeQuorumRequest.TopicData(topic_name=_METADATA_TOPIC, partitions=[partition])
        request = DescribeQuorumRequest(topics=[topic])

        async def attempt() -> int:
            response = await self.client.ask_any(ApiKey.DESCRIBE_QUORUM, request)
            check(response.error_code, "describe the quorum", response.error_message)
            answer = response.topics[0].partitions[0]
            check(answer.error_code, "describe the quorum", answer.error_message)
            leader: int = answer.leader_id
            return leader

        return await self._retried("describe the quorum", attempt)

    async def moves(self) -> dict[TopicPartition, Move]:
        """The moves that are under way."""
        request = ListPartitionReassignmentsRequest(timeout_ms=self._timeout_ms, topics=None)

        async def attempt() -> dict[TopicPartition, Move]:
            response = await self._ask_controller(ApiKey.LIST_PARTITION_REASSIGNMENTS, request)
            check(response.error_code, "list moves", response.error_message)
            return {
                TopicPartition(topic.name, each.partition_index): Move(
                    tuple(each.replicas), tuple(each.adding_replicas), tuple(each.removing_replicas)
                )
                for topic in response.topics
                for each in topic.partitions
            }

        return await self._retried("list moves", attempt)

    async def move(self, targets: Mapping[TopicPartition, Sequence[int] | None]) -> None:
        """Begin to move partitions to these brokers, preferred leader first; None stops the move of one.

        Raises the first `KafkaError` of those that were refused; the others have begun.
        """
        topics: dict[str, list[AlterPartitionReassignmentsRequest.ReassignablePartition]] = {}
        for (name, index), replicas in targets.items():
            wanted = AlterPartitionReassignmentsRequest.ReassignablePartition(
                partition_index=index, replicas=None if replicas is None else list(replicas)
            )
            topics.setdefault(name, []).append(wanted)
        request = AlterPartitionReassignmentsRequest(
            timeout_ms=self._timeout_ms,
            topics=[
                AlterPartitionReassignmentsRequest.ReassignableTopic(name=name, partitions=partitions)
                for name, partitions in topics.items()
            ],
        )

        async def attempt() -> None:
            response = await self._ask_controller(ApiKey.ALTER_PARTITION_REASSIGNMENTS, request)
            check(response.error_code, "move partitions", response.error_message)
            for topic in response.responses:
                for each in topic.partitions:
                    check(each.error_code, f"move {topic.name}-{each.partition_index}", each.error_message)

        await self._retried("move partitions", attempt)

    async def elect_leaders(
        self, partitions: Iterable[TopicPartition] | None = None, *, unclean: bool = False
    ) -> dict[TopicPartition, KafkaError | None]:
        """Give leadership to preferred replicas; with `unclean` to any that lives, where none holds everything.

        Without `partitions` all are meant. For each that was elected None, else what stood in the way; those that
        needed no election are left out.
        """
        topics: dict[str, list[int]] = {}
        for name, index in partitions or ():
            topics.setdefault(name, []).append(index)
        asked = [
            ElectLeadersRequest.TopicPartitions(topic=name, partitions=indexes) for name, indexes in topics.items()
        ]
        request = ElectLeadersRequest(
            election_type=_UNCLEAN if unclean else _PREFERRED,
            topic_partitions=None if partitions is None else asked,
            timeout_ms=self._timeout_ms,
        )

        async def attempt() -> dict[TopicPartition, KafkaError | None]:
            response = await self._ask_controller(ApiKey.ELECT_LEADERS, request)
            check(response.error_code, "elect leaders", None)
            outcomes: dict[TopicPartition, KafkaError | None] = {}
            for topic in response.replica_election_results:
                for each in topic.partition_result:
                    if each.error_code == ErrorCode.ELECTION_NOT_NEEDED:
                        continue
                    tp = TopicPartition(topic.topic, each.partition_id)
                    error = error_for(each.error_code, each.error_message or f"{tp} was not elected")
                    outcomes[tp] = error if each.error_code else None
            return outcomes

        return await self._retried("elect leaders", attempt)

    async def unregister_broker(self, node_id: int) -> None:
        """Forget a broker that is gone for good."""
        request = UnregisterBrokerRequest(broker_id=node_id)

        async def attempt() -> None:
            response = await self._ask_controller(ApiKey.UNREGISTER_BROKER, request)
            check(response.error_code, f"forget broker {node_id}", response.error_message)

        await self._retried(f"forget broker {node_id}", attempt)

    async def replica_sizes(self) -> dict[TopicPartition, dict[int, int]]:
        """Bytes that each replica's log has, by partition and node id, of the brokers that are there."""
        request = DescribeLogDirsRequest(topics=None)

        async def attempt() -> dict[TopicPartition, dict[int, int]]:
            sizes: dict[TopicPartition, dict[int, int]] = {}
            for node, answer in (await self._ask_nodes(ApiKey.DESCRIBE_LOG_DIRS, request)).items():
                for directory in answer.results:
                    for topic in directory.topics:
                        for each in topic.partitions:
                            tp = TopicPartition(topic.name, each.partition_index)
                            sizes.setdefault(tp, {})[node] = each.partition_size
            return sizes

        return await self._retried("ask for the sizes of replicas", attempt)
