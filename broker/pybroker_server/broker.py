"""One broker: its parts, built and started in order, and stopped in the reverse one.

Rules of this file: knows all parts and decides nothing that one of them could decide. Ports are bound first, so that
one in use is known at once, and answered last, when everything behind them works.

Start: data directories (locks, identity), metadata store and first image, cluster id, logs (recovery), registration,
partitions, listeners. Stop: no new connections, requests under way are answered, parked ones let go, then flush,
checkpoints and the clean-shutdown mark, and the registration goes.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType

from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_server.admin.listener import AdminListener
from pybroker_server.admin.sources import Sources
from pybroker_server.config.dynamic import apply_dynamic
from pybroker_server.config.listeners import Listener as ListenerAddress
from pybroker_server.config.values import ConfigError
from pybroker_server.config.views import FALLBACK_NODE_ID, BrokerConfig
from pybroker_server.controller.brokers import Return
from pybroker_server.controller.control_plane import ControlPlane
from pybroker_server.controller.controller import ClusterIdError, Controller
from pybroker_server.controller.departures import Departures
from pybroker_server.controller.isr_changes import IsrChanges
from pybroker_server.controller.membership import NodeIdTakenError
from pybroker_server.controller.producer_ids import ProducerIdAllocator
from pybroker_server.coordinator.group.coordinator import GroupCoordinator, group_coordinator
from pybroker_server.coordinator.marking import MarkerWriter
from pybroker_server.coordinator.transaction.gate import TransactionGate
from pybroker_server.coordinator.transaction.transactions import Transactions
from pybroker_server.handlers.registry import Handler, load_all
from pybroker_server.handlers.services import Services
from pybroker_server.log.checkpoints import TopicPartition
from pybroker_server.log.cleaner import Cleaner
from pybroker_server.log.flusher import Flusher
from pybroker_server.log.housekeeper import Housekeeper
from pybroker_server.log.log_config import LogConfig
from pybroker_server.log.log_directory import DirectoryError
from pybroker_server.log.manager import LogManager
from pybroker_server.log.partition_log import PartitionLog
from pybroker_server.metadata.image import CLUSTER_DEFAULT, MetadataImage
from pybroker_server.metadata.publisher import MetadataPublisher, StoreWentBackError
from pybroker_server.metadata.seen_revision import SeenRevision, read_seen_revision
from pybroker_server.metadata.store import MetadataStore, StoreError
from pybroker_server.metadata.stores import StoreUrlError, open_store
from pybroker_server.network.dispatcher import Dispatcher
from pybroker_server.network.failure_log import FailureLog
from pybroker_server.network.hub import ConnectionHub, ConnectionSettings
from pybroker_server.network.limits import ConnectionLimits
from pybroker_server.network.listener import Listener, bind_sockets
from pybroker_server.network.request_memory import RequestMemory
from pybroker_server.peers.peers import Peers
from pybroker_server.registration import address_resolver, registration
from pybroker_server.replica.fetch_session import FetchSessionCache
from pybroker_server.replica.log_configs import log_config_for
from pybroker_server.replica.manager import ReplicaManager
from pybroker_server.runtime import host
from pybroker_server.runtime.runtime import Runtime
from pybroker_server.telemetry.events import RefusalLog, get_logger
from pybroker_server.telemetry.loop_lag import LoopLag

_FETCH_SESSION_MIN_EVICTION_MS = 120_000
"""Kafka's `MIN_INCREMENTAL_FETCH_SESSION_EVICTION_MS`, which is no setting there either."""
_FETCH_SESSION_ID_MAX = (1 << 31) - 2
_REQUEST_MEMORY_SHARE = 4
"""Half-received requests may hold one part in this many of the memory, unless `queued.max.request.bytes` says."""
_DRAIN_MS = 5_000
"""How long connections may take to be answered once the broker stops."""
_logger = get_logger("pybroker.server")


class StartError(Exception):
    """The broker cannot start; text and hint are for the user."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class Broker:
    """`start`, then `stop`, whatever `start` came to. `bound`, `node_id` and `peers` are known once it serves."""

    def __init__(self, config: BrokerConfig, runtime: Runtime) -> None:
        self.config = config
        self.node_id = FALLBACK_NODE_ID
        self.bound: list[ListenerAddress] = []
        self._runtime = runtime
        self._sockets: list[tuple[ListenerAddress, socket.socket]] = []
        self._listeners: list[Listener] = []
        self._logs = LogManager(
            config.log_dirs, runtime, threads_per_directory=config.num_recovery_threads_per_data_dir
        )
        self._seen = SeenRevision(runtime, config.log_dirs[0])
        self._store: MetadataStore | None = None
        self._hub: ConnectionHub | None = None
        self._replicas: ReplicaManager | None = None
        self._groups: GroupCoordinator | None = None
        self._markers: MarkerWriter | None = None
        self._transactions: Transactions | None = None
        self._producer_ids: ProducerIdAllocator | None = None
        self.peers: Peers | None = None
        self._housekeeper: Housekeeper | None = None
        self._cleaner: Cleaner | None = None
        self._services: Services | None = None
        self._control: ControlPlane | None = None
        self._flusher: Flusher | None = None
        self._isr_changes: IsrChanges | None = None
        self._loop_lag = LoopLag(runtime.clock, runtime.timers)
        self.admin = AdminListener(runtime)
        self._broker_epoch = -1

    # -- start

    async def start(self) -> None:
        """Raises StartError and OSError."""
        self._bind()
        runtime = self._runtime
        try:
            known = await runtime.blocking.run(self._logs.claim)
        except DirectoryError as error:
            raise StartError(str(error), hint=error.hint) from None
        self._settle_node_id(known[1] if known else None)
        publisher = await self._open_metadata()
        control = ControlPlane(self.node_id, self._open_store, publisher, runtime, lambda: self.config)
        self._control = control
        try:
            cluster_id = await control.controller.ensure_cluster(
                known_id=known[0] if known else None, wanted_id=self.config.cluster_id
            )
        except ClusterIdError as error:
            raise StartError(str(error)) from None
        await runtime.blocking.run(partial(self._logs.write_identity, cluster_id, self.node_id))
        self._take_dynamic(publisher.image)
        # Imports every handler, which takes a while: before others know of this broker and send clients here.
        api_table = load_all()
        await self._join(control, publisher)
        self.peers = self._open_peers(publisher)
        replicas = self._open_partitions(publisher, control.controller, self.peers)
        self._open_coordinators(publisher, control.controller)
        control.start(self.peers, replicas)
        self._serve(self._make_services(publisher, control.controller, cluster_id, api_table))

    def _bind(self) -> None:
        for address in self.config.opened_listeners:
            try:
                sockets = bind_sockets(address.host, address.port)
            except OSError as error:
                raise StartError(
                    f"cannot listen on {address}: {error.strerror or error}",
                    hint="another process may have the port (`ss -ltnp`), or the address is not one of this machine;"
                    " choose others with --listeners PLAINTEXT://127.0.0.1:9092",
                ) from None
            opened = replace(address, port=sockets[0].getsockname()[1])
            self.bound.append(opened)
            self._sockets += [(opened, one) for one in sockets]
        if self.config.admin_listener is not None:
            host, port = self.config.admin_listener
            try:
                self.admin.open(host, port, is_wanted=self.config.settings.is_set("admin.listener"))
            except OSError as error:
                raise StartError(
                    f"cannot listen on {host}:{port} for the admin server: {error.strerror or error}",
                    hint="choose another with --admin-listener HOST:PORT, or '' for none",
                ) from None

    def _listen_to_brokers(self) -> None:
        """Before they can know of this one: who is refused takes it for dead. They are answered when it serves."""
        for_brokers = self.config.inter_broker_listener
        for address, bound in self._sockets:
            if for_brokers is not None and address.name == for_brokers.name:
                bound.listen(self.config.socket_listen_backlog_size)

    def _settle_node_id(self, known: int | None) -> None:
        wanted = self.config.node_id
        if known is not None and wanted not in (None, known):
            raise StartError(
                f"the data in {self.config.log_dirs[0]} belongs to node {known}, but node.id is {wanted}",
                hint=f"start it with --node-id {known}, or give node {wanted} a directory of its own",
            )
        self.node_id = wanted if wanted is not None else known if known is not None else FALLBACK_NODE_ID
        self.config = self.config.with_node_id(self.node_id)

    async def _open_metadata(self) -> MetadataPublisher:
        runtime, url = self._runtime, self.config.metadata_store_url
        try:
            self._store = await open_store(url, runtime)
            seen = await runtime.blocking.run(partial(read_seen_revision, runtime.disk, self.config.log_dirs[0]))
            publisher = MetadataPublisher(self._store, runtime.timers, known_revision=seen)
            publisher.subscribe(self._seen.on_image)
            await publisher.start(runtime.tasks)
        except StoreUrlError as error:
            raise StartError(str(error)) from None
        except StoreError as error:
            raise StartError(f"the metadata store {url} cannot be used: {error}") from None
        except StoreWentBackError as error:
            raise StartError(
                str(error),
                hint="it was restored from an older copy, or is another cluster's; with it, topics made since would be"
                " deleted from this broker's disk. Restore the newest copy",
            ) from None
        return publisher

    async def _join(self, control: ControlPlane, publisher: MetadataPublisher) -> None:
        """Loads the logs and registers, in the order that keeps an earlier life of this broker from counting."""
        me = registration(self.config, self.node_id, self.bound, self._logs.directory_ids)
        try:
            await control.claim(me)
            was_clean = await self._open_logs(publisher.image)
            self._listen_to_brokers()
            await control.join(
                me, Return(self.node_id, was_clean, lambda topic, index: self._logs.get(topic, index) is not None)
            )
        except NodeIdTakenError as error:
            raise StartError(str(error), hint="give each broker of the cluster a --node-id of its own") from None
        except (StoreError, KafkaError) as error:
            raise StartError(f"the broker could not be registered: {error}") from None

    @property
    def _open_store(self) -> MetadataStore:
        assert self._store is not None
        return self._store

    async def _open_logs(self, image: MetadataImage) -> bool:
        """Loads what lies on disk; whether the last life ended cleanly."""
        was_clean = await self._runtime.blocking.run(self._logs.take_clean_marks)

        def config_of(topic: str) -> LogConfig:
            found = image.topics_by_name.get(topic)
            return log_config_for(self.config, found.configs if found else {})

        try:
            await self._logs.load(config_of)
        except DirectoryError as error:
            raise StartError(str(error), hint=error.hint) from None

        def is_wanted(log: PartitionLog) -> bool:
            found = image.partition(log.topic, log.partition)
            return found is not None and self.node_id in found.replicas

        self._logs.delete_strays(is_wanted)
        return was_clean

    def _open_peers(self, publisher: MetadataPublisher) -> Peers:
        config, listener = self.config, self.config.inter_broker_listener
        peers = Peers(
            self.node_id,
            listener.name if listener is not None else None,
            self._runtime,
            request_timeout_ms=config.request_timeout_ms,
            connect_timeout_ms=config.socket_connection_setup_timeout_ms,
        )
        peers.on_image(MetadataImage(), publisher.image)
        publisher.subscribe(peers.on_image)
        return peers

    def _open_partitions(self, publisher: MetadataPublisher, controller: Controller, peers: Peers) -> ReplicaManager:
        runtime = self._runtime
        flusher = Flusher(runtime.blocking, runtime.timers, runtime.clock, self._logs.on_flush_failure)
        self._flusher = flusher
        replicas = ReplicaManager(
            self.node_id,
            self.config,
            self._logs,
            flusher,
            clock=runtime.clock,
            timers=runtime.timers,
            blocking=runtime.blocking,
        )
        self._replicas = replicas
        self._logs.on_directory_failure(replicas.on_logs_failed)
        if self.config.inter_broker_listener is not None:
            changes = self._isr_changes = IsrChanges(controller, runtime, lambda: self.config)
            replicas.follow_leaders(peers, runtime, changes.propose)
        replicas.on_image(MetadataImage(), publisher.image)
        publisher.subscribe(replicas.on_image)
        self._housekeeper = Housekeeper(
            self._logs, self.config, runtime, self._high_watermarks, replicas.persist_log_starts
        )
        self._housekeeper.start()
        self._cleaner = Cleaner(self._logs, self.config, runtime, self._stable_offsets)
        self._cleaner.start()
        return replicas

    def _open_coordinators(self, publisher: MetadataPublisher, controller: Controller) -> None:
        runtime, replicas, peers = self._runtime, self._replicas, self.peers
        assert replicas is not None
        assert peers is not None
        self._producer_ids = ProducerIdAllocator(controller.allocate_producer_ids, runtime.tasks.spawn)
        self._groups = group_coordinator(replicas, self.config, runtime.entropy)
        self._markers = MarkerWriter(replicas, self._groups, self.config.request_timeout_ms)
        self._transactions = Transactions(replicas, self._markers, peers, self.config, self._producer_ids.take)
        for on_image in (self._groups.on_image, self._transactions.on_image):
            on_image(MetadataImage(), publisher.image)
            publisher.subscribe(on_image)
        publisher.subscribe(self._on_image)

    def _make_services(
        self, publisher: MetadataPublisher, controller: Controller, cluster_id: str, api_table: Mapping[int, Handler]
    ) -> Services:
        assert self._replicas is not None
        assert self._groups is not None
        assert self._markers is not None
        assert self._transactions is not None
        assert self._producer_ids is not None
        assert self.peers is not None
        runtime = self._runtime
        departures = Departures(publisher, runtime, listed_ms=self.config.broker_session_timeout_ms)
        departures.watch(self.peers)
        self._services = Services(
            config=self.config,
            node_id=self.node_id,
            cluster_id=cluster_id,
            metadata=publisher,
            controller=controller,
            replicas=self._replicas,
            logs=self._logs,
            groups=self._groups,
            markers=self._markers,
            transactions=self._transactions,
            transaction_gate=TransactionGate(self._replicas, self._transactions, self.peers, self.config),
            producer_ids=self._producer_ids,
            peers=self.peers,
            departures=departures,
            fetch_sessions=FetchSessionCache(
                self.config.max_incremental_fetch_session_cache_slots,
                _FETCH_SESSION_MIN_EVICTION_MS,
                lambda: runtime.entropy.choice_index(_FETCH_SESSION_ID_MAX) + 1,
            ),
            runtime=runtime,
            endpoint_of=address_resolver(self.config, self.node_id, runtime.disk),
            api_table=api_table,
        )
        return self._services

    def _serve(self, services: Services) -> None:
        runtime, config = self._runtime, self.config
        budget = config.queued_max_request_bytes
        if budget <= 0:
            budget = host.memory_bytes(runtime.disk) // _REQUEST_MEMORY_SHARE
        refusals = RefusalLog(runtime.clock)
        dispatcher = Dispatcher(
            services.api_table, services, runtime.clock, runtime.tasks, FailureLog(runtime.clock), services.errors
        )
        hub = ConnectionHub(
            ConnectionSettings(
                socket_request_max_bytes=config.socket_request_max_bytes,
                connections_max_idle_ms=config.connections_max_idle_ms,
            ),
            dispatcher,
            runtime.buffers,
            RequestMemory(budget),
            runtime.clock,
            runtime.timers,
            refusals,
        )
        self._hub = hub
        limits = ConnectionLimits(
            config.max_connections,
            config.max_connections_per_ip,
            config.max_connection_creation_rate,
            config.max_connections_per_ip_overrides,
        )
        hub.start()
        for_brokers = config.inter_broker_listener
        for address, bound in self._sockets:
            listener = Listener(
                address.name,
                bound,
                hub,
                limits,
                runtime.tasks,
                is_inter_broker=for_brokers is not None and address.name == for_brokers.name,
                backlog=config.socket_listen_backlog_size,
                buffer_sizes=_buffer_sizes(config),
            )
            self._listeners.append(listener)
            listener.start()
        assert self._flusher is not None
        assert self._cleaner is not None
        self._loop_lag.start()
        self.admin.serve(
            Sources(services, hub, self._flusher, self._cleaner, self._loop_lag, refusals, self._isr_changes)
        )

    # -- while it runs

    def _on_image(self, old: MetadataImage, new: MetadataImage) -> None:
        if old.broker_configs is not new.broker_configs:
            self._take_dynamic(new)

    def _take_dynamic(self, image: MetadataImage) -> None:
        """Overrides that were set while the cluster ran. One that is not valid here is left out, and said."""
        overrides = image.broker_configs
        try:
            config = apply_dynamic(self.config, overrides.get(CLUSTER_DEFAULT, {}), overrides.get(self.node_id, {}))
        except ConfigError as error:
            _logger.error("dynamic_config_refused", error=str(error))
            return
        self.config = config.with_node_id(self.node_id)
        if self._services is not None:
            self._services.config = self.config
            self._services.transaction_gate.on_config(self.config)
        if self._replicas is not None:
            self._replicas.on_config(self.config)
        if self._groups is not None:
            self._groups.on_config(self.config)
        if self._transactions is not None:
            self._transactions.on_config(self.config)
        if self._cleaner is not None:
            self._cleaner.on_config(self.config)

    def _high_watermarks(self) -> dict[TopicPartition, int]:
        if self._replicas is None:
            return {}
        return {(p.topic, p.index): p.high_watermark for p in self._replicas.all_partitions()}

    def _stable_offsets(self) -> dict[TopicPartition, int]:
        if self._replicas is None:
            return {}
        served = (p for p in self._replicas.all_partitions() if p.error is ErrorCode.NONE)
        return {(p.topic, p.index): p.last_stable_offset for p in served}

    # -- stop

    async def stop(self, *, clean: bool) -> None:
        """Ends everything; with `clean` nothing is left to recover at the next start."""
        if clean and self._control is not None:
            await self._control.leave()
        for listener in self._listeners:
            listener.close()
        for _, bound in self._sockets:
            bound.close()
        await self.admin.stop()
        self._loop_lag.stop()
        self._stop_acting()
        if self._hub is not None:
            await self._drain(self._hub)
        if self._housekeeper is not None:
            await self._housekeeper.stop()
        if self._cleaner is not None:
            await self._cleaner.stop()
        self._seen.close()
        if self._control is not None:
            self._broker_epoch = await self._control.depart(clean=clean)
        is_whole = clean and self._replicas is not None
        await self._logs.close(self._high_watermarks(), self._broker_epoch, is_clean=is_whole)
        if is_whole:
            await self._runtime.blocking.run(self._seen.write)
        if self._store is not None:
            await self._store.close()
        _logger.info("broker_stopped", node_id=self.node_id, clean=is_whole)

    def _stop_acting(self) -> None:
        """What this broker does by itself ends; requests under way are still answered."""
        for coordinator in (self._groups, self._transactions):
            if coordinator is not None:
                coordinator.stop()
        if self._replicas is not None:
            self._replicas.stop_following()
        if self.peers is not None:
            self.peers.close()

    async def _drain(self, hub: ConnectionHub) -> None:
        empty: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done() -> None:
            if not empty.done():
                empty.set_result(None)

        timer = self._runtime.timers.call_after_ms(_DRAIN_MS, done)
        hub.shut_down(done)
        try:
            await empty
        finally:
            timer.cancel()
            hub.abort_all()
            hub.stop()


def _buffer_sizes(config: BrokerConfig) -> Mapping[int, int]:
    """Kafka's -1 leaves the size to the system."""
    wanted = {
        socket.SO_SNDBUF: config.socket_send_buffer_bytes,
        socket.SO_RCVBUF: config.socket_receive_buffer_bytes,
    }
    return MappingProxyType({option: size for option, size in wanted.items() if size > 0})
