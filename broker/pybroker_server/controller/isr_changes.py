"""Writes what leaders propose for their partitions' ISRs to the metadata store (design D5).

Rules of this file: a proposal is planned on the newest image and committed with comparisons: the partition must be as
the leader saw it, and a broker that joins must be registered as it was when it fetched, so that one that was fenced or
restarted since can never be let back in (KIP-841, KIP-903). A proposal that the image has overtaken is void: the
leader has the newer state by then. When the store does not answer nobody knows whether it was written, and the leader
counts with both until the image tells (R5).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from pybroker_protocol.errors import KafkaError
from pybroker_server.config.views import BrokerConfig
from pybroker_server.controller.change import Change, joined
from pybroker_server.controller.controller import Controller
from pybroker_server.controller.elections import advanced, topic_rules, with_isr
from pybroker_server.metadata.image import MetadataImage
from pybroker_server.metadata.keys import broker_key, encode_partition, partition_key
from pybroker_server.metadata.store import Compare, Put
from pybroker_server.replica.partition import Partition
from pybroker_server.replica.partition_state import IsrChange
from pybroker_server.runtime.runtime import Runtime
from pybroker_server.telemetry.events import get_logger

BATCH: Final = 32
RETRY_MS: Final = 200
_log = get_logger("pybroker.controller")


@dataclass(frozen=True, slots=True)
class Proposal:
    partition: Partition
    change: IsrChange


def plan_isr_change(image: MetadataImage, proposal: Proposal, config: BrokerConfig) -> Change:
    """Empty for a proposal that is void, or whose new member may not join."""
    partition, change = proposal.partition, proposal.change
    topic = image.topics_by_id.get(partition.topic_id)
    if topic is None or partition.index >= len(topic.partitions):
        return Change()
    before = topic.partitions[partition.index]
    is_as_seen = (before.partition_epoch, before.leader_epoch) == (change.partition_epoch, change.leader_epoch)
    if not is_as_seen or before.leader != partition.state.local_id:
        return Change()
    key = partition_key(partition.topic_id, partition.index)
    compares = [Compare(key, before.mod_revision)]
    epochs = dict(change.broker_epochs)
    for node_id in change.isr:
        if node_id in before.isr:
            continue
        broker = image.brokers.get(node_id)
        is_eligible = broker is not None and broker.is_active and broker.epoch == epochs.get(node_id)
        if broker is None or not is_eligible or node_id not in before.replicas:
            return Change()
        compares.append(Compare(broker_key(node_id), broker.mod_revision))
    after = replace(with_isr(before, change.isr, topic_rules(topic, config)), recovering=False)
    return Change(compares=compares, puts=[Put(key, encode_partition(advanced(before, after)))])


class IsrChanges:
    """`propose` is the replica manager's `OnIsrChange`."""

    def __init__(self, controller: Controller, runtime: Runtime, config: Callable[[], BrokerConfig]) -> None:
        self._controller = controller
        self._runtime = runtime
        self._config = config
        self._waiting: list[Proposal] = []
        self._is_writing = False
        self.shrinks = 0
        """Proposed by leaders here; with the next, for metrics."""
        self.expansions = 0

    def propose(self, partition: Partition, change: IsrChange) -> None:
        if change.is_expansion:
            self.expansions += 1
        else:
            self.shrinks += 1
        self._waiting.append(Proposal(partition, change))
        if not self._is_writing:
            self._is_writing = True
            self._runtime.timers.call_soon(self._start)

    def _start(self) -> None:
        self._runtime.tasks.spawn("isr-changes", self._write_all())

    async def _write_all(self) -> None:
        while self._waiting:
            some, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
            try:
                await self._controller.change(partial(self._plan, proposals=some))
            except KafkaError as error:
                _log.warning("isr_change_failed", error=str(error), partitions=len(some))
                self._waiting += some
                self._runtime.timers.call_after_ms(RETRY_MS, self._start)
                return
            for proposal in some:
                # What was written is in the image, and so in the partition's state; this is about the others.
                proposal.partition.on_isr_change_refused(proposal.change)
        self._is_writing = False

    def _plan(self, image: MetadataImage, proposals: Sequence[Proposal]) -> Change:
        """One commit for all; of each partition the first that holds, as a key can be written once only."""
        config = self._config()
        planned: dict[Partition, Change] = {}
        for proposal in proposals:
            change = plan_isr_change(image, proposal, config)
            if not change.is_empty:
                planned.setdefault(proposal.partition, change)
        return joined(planned.values())
