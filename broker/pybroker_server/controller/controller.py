"""Changes the cluster's metadata on behalf of clients and brokers.

Rules of this file: the asynchronous shell around the pure plans beside it. Every operation is: plan on the
current image, commit with comparisons, and after a failed comparison wait for the newer image and plan again.
So every broker can run every operation at any time, none needs to be the only one, and no operation holds
state between two steps. An operation answers when this broker's own image shows it: what a client does next
sees it.

A store that cannot be reached answers REQUEST_TIMED_OUT: the change may or may not have happened.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar
from uuid import UUID

from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_server.config.dynamic import Alteration
from pybroker_server.config.views import BrokerConfig
from pybroker_server.controller.brokers import (
    Return,
    held_partitions,
    plan_fencing,
    plan_forgetting,
    plan_registration,
    plan_return,
    plan_shutdown,
)
from pybroker_server.controller.change import Change, joined
from pybroker_server.controller.configs import Resource, plan_alter, plan_replace
from pybroker_server.controller.elections import Election
from pybroker_server.controller.internal_topics import auto_topic
from pybroker_server.controller.partition_requests import (
    Decide,
    ElectionWish,
    MoveWish,
    Outcomes,
    W,
    decide_election,
    decide_move,
    plan_wishes,
)
from pybroker_server.controller.topics import (
    Draw,
    NewTopic,
    check_total,
    collision,
    plan_create,
    plan_delete,
    plan_grow,
)
from pybroker_server.metadata.image import BrokerImage, MetadataImage, TopicImage
from pybroker_server.metadata.keys import (
    CLUSTER_KEY,
    PRODUCER_IDS_KEY,
    collision_name,
    decode_producer_ids,
    encode_cluster,
    encode_producer_ids,
)
from pybroker_server.metadata.publisher import MetadataPublisher
from pybroker_server.metadata.store import CommitResult, Compare, MetadataStore, Put, StoreError
from pybroker_server.runtime.runtime import Runtime
from pybroker_server.telemetry.events import LineLimiter, get_logger

PRODUCER_ID_BLOCK: Final = 1000
ATTEMPTS_MAX: Final = 50
"""A failed comparison means that somebody else got on; so many in a row mean that something is wrong."""
_SHIFTS = 1 << 16

T = TypeVar("T")
Plan = Callable[[MetadataImage], Change]
_log = get_logger("pybroker.controller")


class ClusterIdError(Exception):
    """The data directory and the metadata store are not of the same cluster; the message is fit for the
    user."""


@dataclass(frozen=True, slots=True)
class TopicOutcome:
    """What became of one topic of a request: `error`, or `topic` as it is now."""

    name: str
    topic: TopicImage | None = None
    error: KafkaError | None = None


class Controller:
    def __init__(self, store: MetadataStore, publisher: MetadataPublisher, runtime: Runtime) -> None:
        self._store = store
        self._publisher = publisher
        self._runtime = runtime
        self._being_created: set[str] = set()
        self._failure_lines = LineLimiter()

    async def ensure_cluster(self, *, known_id: str | None, wanted_id: str | None) -> str:
        """The cluster id, made up (or `wanted_id`) if this is the first broker ever.

        `known_id`: what the data directory says. Raises ClusterIdError when that is another cluster's, or
        when the store is new although the data is not: going on would delete every log as not known.
        """
        found = self._publisher.image.cluster_id
        if not found:
            if known_id is not None:
                raise ClusterIdError(
                    f"the data is of cluster {known_id}, but the metadata store is empty: restore it or point "
                    "metadata.store.url at the right one"
                )
            offered = wanted_id or urlsafe_b64encode(self._runtime.entropy.uuid().bytes).decode().rstrip("=")
            await self._commit(
                Change(compares=[Compare(CLUSTER_KEY, 0)], puts=[Put(CLUSTER_KEY, encode_cluster(offered))])
            )
            found = self._publisher.image.cluster_id
        for other, whose in ((known_id, "the data is"), (wanted_id, "cluster.id is")):
            if other not in (None, found):
                raise ClusterIdError(f"{whose} of cluster {other}, but the metadata store is of cluster {found}")
        return found

    async def settle_return(self, back: Return, config: BrokerConfig) -> None:
        """Before a broker registers: takes from it what it cannot be trusted with any more (`brokers.py`)."""
        held = held_partitions(self._publisher.image, back.node_id)
        for chunk in _chunks(held, self._store.max_operations_per_commit):
            await self.change(partial(plan_return, back=back, partitions=chunk, config=config))

    async def register_broker(self, broker: BrokerImage, *, lease_id: int = 0) -> int:
        """Registers this broker's new life; its broker epoch. Call it before anything is served."""
        await self.change(partial(plan_registration, broker=broker, lease_id=lease_id))
        return self._publisher.image.brokers[broker.node_id].epoch

    async def announce_shutdown(self, node_id: int, epoch: int, *, lease_id: int = 0) -> None:
        """The broker of that epoch is about to leave."""
        await self.change(partial(plan_shutdown, node_id=node_id, epoch=epoch, lease_id=lease_id))

    async def fence_broker(self, node_id: int, epoch: int) -> None:
        """Ends the registration of that epoch: at the end of a clean shutdown, or because the broker died."""
        await self.change(partial(plan_fencing, node_id=node_id, epoch=epoch))

    async def create_topics(
        self, wanted: Sequence[NewTopic], config: BrokerConfig, *, validate_only: bool = False
    ) -> list[TopicOutcome]:
        """One outcome for each topic wanted, in their order; names are not given twice.

        Raises KafkaError for what concerns the request as a whole. With `validate_only` an outcome shows the
        topic as it would be, under an id that is not used.
        """
        check_total(wanted, config)
        draws = [self._draw() for _ in wanted]
        for _ in range(ATTEMPTS_MAX):
            planned = _plan_creations(self._publisher.image, wanted, config, draws)
            outcomes = [outcome for outcome, _ in planned]
            changes = [change for _, change in planned if change is not None]
            if validate_only or not changes:
                return outcomes
            whole = joined(changes)
            if len(changes) > 1 and whole.operations > self._store.max_operations_per_commit:
                return [(await self.create_topics([one], config))[0] for one in wanted]
            if await self._commit(whole):
                return outcomes
        raise _gave_up()

    def auto_create_topics(self, names: Iterable[str], config: BrokerConfig) -> None:
        """Begins to create topics that a client asked for by name; whoever asks again later finds them."""
        fresh = [name for name in names if name not in self._being_created]
        if fresh:
            self._being_created.update(fresh)
            self._runtime.tasks.spawn("auto-create-topics", self._auto_create(fresh, config))

    async def delete_topic(self, topic_id: UUID) -> None:
        """Raises UNKNOWN_TOPIC_ID when it is gone already."""
        await self.change(lambda image: plan_delete(_by_id(image, topic_id)))

    async def grow_topic(
        self,
        name: str,
        partition_count: int,
        assignments: Sequence[Sequence[int]] | None,
        *,
        validate_only: bool = False,
    ) -> None:
        """CreatePartitions for one topic; KafkaError as Kafka answers."""
        draw = self._draw()
        await self.change(
            lambda image: plan_grow(image, _by_name(image, name), partition_count, assignments, draw),
            validate_only=validate_only,
        )

    async def alter_configs(
        self,
        resource: Resource,
        alterations: Sequence[Alteration],
        config: BrokerConfig,
        *,
        validate_only: bool = False,
    ) -> None:
        """IncrementalAlterConfigs for one resource; KafkaError as Kafka answers."""
        await self.change(
            partial(plan_alter, resource=resource, alterations=alterations, config=config),
            validate_only=validate_only,
        )

    async def replace_configs(
        self,
        resource: Resource,
        values: Mapping[str, str | None],
        config: BrokerConfig,
        *,
        validate_only: bool = False,
    ) -> None:
        """AlterConfigs for one resource; KafkaError as Kafka answers."""
        await self.change(
            partial(plan_replace, resource=resource, values=values, config=config),
            validate_only=validate_only,
        )

    async def elect_leaders(self, wanted: Sequence[ElectionWish], election: Election, config: BrokerConfig) -> Outcomes:
        """ElectLeaders: for each what stood in the way, or None for one that was elected."""
        return await self._grant(wanted, partial(decide_election, election=election, config=config))

    async def reassign(
        self, wanted: Sequence[MoveWish], config: BrokerConfig, *, allows_other_factor: bool = True
    ) -> Outcomes:
        """AlterPartitionReassignments: for each what stood in the way, or None for one that has begun."""
        decide = partial(decide_move, config=config, allows_other_factor=allows_other_factor)
        return await self._grant(wanted, decide)

    async def unregister_broker(self, node_id: int) -> None:
        """UnregisterBroker; KafkaError as Kafka answers. One that is alive registers anew by itself."""
        await self.change(partial(plan_forgetting, node_id=node_id))

    async def allocate_producer_ids(self) -> range:
        """A block of producer ids that nobody was given before and nobody will be given again."""
        for _ in range(ATTEMPTS_MAX):
            with _store_errors():
                found, _ = await self._store.get(PRODUCER_IDS_KEY)
            first = decode_producer_ids(found.value) if found else 0
            change = Change(
                compares=[Compare(PRODUCER_IDS_KEY, found.mod_revision if found else 0)],
                puts=[Put(PRODUCER_IDS_KEY, encode_producer_ids(first + PRODUCER_ID_BLOCK))],
            )
            if await self._commit(change):
                return range(first, first + PRODUCER_ID_BLOCK)
        raise _gave_up()

    async def _auto_create(self, names: Sequence[str], config: BrokerConfig) -> None:
        live = len(self._publisher.image.live_brokers())
        wanted = [auto_topic(name, config, live) for name in names]
        try:
            outcomes = await self.create_topics(wanted, config)
        except KafkaError as error:
            outcomes = [TopicOutcome(name, error=error) for name in names]
        finally:
            self._being_created.difference_update(names)
        for outcome in outcomes:
            if outcome.error is not None and outcome.error.code is not ErrorCode.TOPIC_ALREADY_EXISTS:
                self._log_failed_creation(outcome.name, outcome.error)

    def _log_failed_creation(self, name: str, error: KafkaError) -> None:
        """Once per reason and interval: clients ask for the topic again and again."""
        held_back = self._failure_lines.admit((error.code.name,), self._runtime.clock.monotonic_ms())
        if held_back is not None:
            _log.warning("topic_auto_creation_failed", topic=name, error=str(error), more_like_it=held_back)

    async def _grant(self, wishes: Sequence[W], decide: Decide[W]) -> Outcomes:
        granted: Outcomes = []
        for some in _chunks(wishes, self._store.max_operations_per_commit):
            outcomes: Outcomes = []
            await self.change(partial(plan_wishes, wishes=some, decide=decide, outcomes=outcomes))
            granted += outcomes
        return granted

    async def change(self, plan: Plan, *, validate_only: bool = False) -> None:
        """Plans and commits until it holds. Raises KafkaError from the plan, or REQUEST_TIMED_OUT."""
        for _ in range(ATTEMPTS_MAX):
            change = plan(self._publisher.image)
            if validate_only or change.is_empty or await self._commit(change):
                return
        raise _gave_up()

    async def _commit(self, change: Change) -> bool:
        """Whether the comparisons held. Returns when the image shows the newest revision in either case."""
        with _store_errors():
            result = await self._commit_parts(change)
        await self._publisher.wait_for_revision(result.revision)
        return result.succeeded

    async def _commit_parts(self, change: Change) -> CommitResult:
        store, size = self._store, self._store.max_operations_per_commit
        if change.operations <= size:
            return await store.commit(change.compares, change.staged + change.puts, change.deletes + change.cleanup)
        for chunk in _chunks(change.staged, size):
            result = await store.commit(change.compares, chunk)
            if not result.succeeded:
                return result
        result = await store.commit(change.compares, change.puts, change.deletes)
        if result.succeeded:
            for keys in _chunks(change.cleanup, size):
                result = await store.commit(deletes=keys)
        return result

    def _draw(self) -> Draw:
        entropy = self._runtime.entropy
        return Draw(entropy.uuid(), entropy.choice_index(_SHIFTS), entropy.choice_index(_SHIFTS))


def _plan_creations(
    image: MetadataImage, wanted: Sequence[NewTopic], config: BrokerConfig, draws: Sequence[Draw]
) -> list[tuple[TopicOutcome, Change | None]]:
    planned: list[tuple[TopicOutcome, Change | None]] = []
    taken: dict[str, str] = {}
    for one, draw in zip(wanted, draws, strict=True):
        try:
            change, topic = plan_create(image, one, config, draw)
            holder = taken.setdefault(collision_name(one.name), one.name)
            if holder != one.name:
                raise collision(one.name, holder)
        except KafkaError as error:
            planned.append((TopicOutcome(one.name, error=error), None))
        else:
            planned.append((TopicOutcome(one.name, topic), change))
    return planned


def _by_name(image: MetadataImage, name: str) -> TopicImage:
    topic = image.topics_by_name.get(name)
    if topic is None:
        raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    return topic


def _by_id(image: MetadataImage, topic_id: UUID) -> TopicImage:
    topic = image.topics_by_id.get(topic_id)
    if topic is None:
        raise KafkaError(ErrorCode.UNKNOWN_TOPIC_ID)
    return topic


def _chunks(items: Sequence[T], size: int) -> list[Sequence[T]]:
    return [items[first : first + size] for first in range(0, len(items), size)]


@contextmanager
def _store_errors() -> Iterator[None]:
    try:
        yield
    except StoreError as error:
        raise KafkaError(ErrorCode.REQUEST_TIMED_OUT, f"the metadata store did not answer: {error}") from error


def _gave_up() -> KafkaError:
    return KafkaError(ErrorCode.REQUEST_TIMED_OUT, "the metadata changed faster than this change could be made")
