"""The broker's transaction coordinator as its other parts see it: asked here, wherever a transactional id is kept.

Rules of this file: the event loop only.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Final

from pybroker_protocol.errors import ErrorCode
from pybroker_protocol.records.compression import Codec
from pybroker_server.config.views import BrokerConfig
from pybroker_server.coordinator.effects import Effects, Reply
from pybroker_server.coordinator.host import CoordinatorHost, Tuning
from pybroker_server.coordinator.transaction.markers import MarkerQueue, MarkerSink
from pybroker_server.coordinator.transaction.records import RECORD_TYPES, TRANSACTIONS_TOPIC
from pybroker_server.coordinator.transaction.remote_markers import RemoteMarkers
from pybroker_server.coordinator.transaction.shard import TransactionShard
from pybroker_server.coordinator.transaction.transaction import (
    EPOCH_PER_TRANSACTION,
    NewProducerId,
    ProducerIdAndEpoch,
    TopicPartition,
)
from pybroker_server.metadata.image import MetadataImage
from pybroker_server.peers.peers import Peers
from pybroker_server.replica.manager import ReplicaManager

_COMMIT_TIMEOUT_MS: Final = 30_000

PartitionsDone = Callable[[Mapping[TopicPartition, ErrorCode]], None]
"""Given the code of each partition, once."""

TransactionCoordinator = CoordinatorHost[TransactionShard]


class Transactions:
    """`coordinator` holds the state; `markers` writes to the partitions that this broker leads."""

    def __init__(
        self,
        replicas: ReplicaManager,
        markers: MarkerSink,
        peers: Peers,
        config: BrokerConfig,
        new_producer_id: NewProducerId,
    ) -> None:
        self._peers = peers
        self._remote: dict[int, RemoteMarkers] = {}
        self._markers = MarkerQueue(replicas.node_id, replicas.image, markers, self._remote_markers, replicas.timers)
        self.coordinator: TransactionCoordinator = CoordinatorHost(
            TRANSACTIONS_TOPIC,
            RECORD_TYPES,
            lambda config, image, led: TransactionShard(config, led, new_producer_id, self._markers),
            replicas,
            config,
            _tuning,
        )

    def add_partitions(
        self,
        transactional_id: str,
        producer_id: int,
        producer_epoch: int,
        partitions: Collection[TopicPartition],
        done: PartitionsDone,
    ) -> None:
        """Makes the partitions part of the producer's transaction, beginning one if need be (KIP-890, version 2).

        The codes are those of AddPartitionsToTxn 5, each the same: INVALID_PRODUCER_ID_MAPPING, PRODUCER_FENCED,
        CONCURRENT_TRANSACTIONS (soon over: ask again), and those of a coordinator that is not available.
        """
        producer = ProducerIdAndEpoch(producer_id, producer_epoch)

        def add(shard: TransactionShard, effects: Effects, reply: Reply[ErrorCode]) -> None:
            shard.add_partitions(effects, reply, transactional_id, producer, partitions, EPOCH_PER_TRANSACTION)

        def complete(code: ErrorCode) -> None:
            done(dict.fromkeys(partitions, code))

        self.coordinator.run(transactional_id, add, Reply(complete, lambda code: code))

    def verify_partitions(
        self,
        transactional_id: str,
        producer_id: int,
        producer_epoch: int,
        partitions: Collection[TopicPartition],
        done: PartitionsDone,
    ) -> None:
        """Whether the partitions are part of the producer's open transaction: NONE or TRANSACTION_ABORTABLE for each.

        Otherwise as `add_partitions`: the same refusal for all.
        """
        producer = ProducerIdAndEpoch(producer_id, producer_epoch)

        def verify(shard: TransactionShard, effects: Effects, reply: Reply[Mapping[TopicPartition, ErrorCode]]) -> None:
            shard.verify_partitions(effects, reply, transactional_id, producer, partitions)

        refuse = _refusal(partitions)
        self.coordinator.run(transactional_id, verify, Reply(done, refuse))

    def _remote_markers(self, node_id: int) -> RemoteMarkers:
        found = self._remote.get(node_id)
        if found is None:
            found = self._remote[node_id] = RemoteMarkers(node_id, self._peers)
        return found

    def on_image(self, old: MetadataImage, new: MetadataImage) -> None:
        """Subscribed to the metadata publisher, behind the replica manager and the group coordinator."""
        self._markers.on_image(old, new)
        self.coordinator.on_image(old, new)

    def on_config(self, config: BrokerConfig) -> None:
        """The broker's settings changed."""
        self.coordinator.on_config(config)

    def stop(self) -> None:
        """See `CoordinatorHost.stop`."""
        self.coordinator.stop()
        self._markers.stop()


def _refusal(
    partitions: Collection[TopicPartition],
) -> Callable[[ErrorCode], Mapping[TopicPartition, ErrorCode]]:
    """The same code for each."""
    return lambda code: dict.fromkeys(partitions, code)


def _tuning(config: BrokerConfig) -> Tuning:
    """Kafka writes this topic uncompressed."""
    return Tuning(Codec.NONE, config.transaction_state_log_load_buffer_size, _COMMIT_TIMEOUT_MS)
