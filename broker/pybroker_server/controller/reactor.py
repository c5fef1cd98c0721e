"""The controller of the cluster: one broker, which answers to brokers that come and go.

Rules of this file: the task around the pure plans of `settling.py`. Every broker runs it; it acts in the one that holds
the controller's seat, a key under that broker's lease which whoever finds it vacant tries to take. Each of its commits
compares the seat too, so one that was deposed and does not know it yet changes nothing. What it does depends on the
image alone: a new controller goes on where the last one stood, without having to learn anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

from pybroker_protocol.errors import KafkaError
from pybroker_server.config.views import BrokerConfig
from pybroker_server.controller.change import Change
from pybroker_server.controller.controller import Controller
from pybroker_server.controller.membership import Membership
from pybroker_server.controller.settling import plan_preferred_leaders, plan_settling
from pybroker_server.metadata.image import MetadataImage
from pybroker_server.metadata.keys import CONTROLLER_KEY, broker_key, encode_controller
from pybroker_server.metadata.publisher import MetadataPublisher
from pybroker_server.metadata.store import Compare, Put
from pybroker_server.runtime.ports import TimerHandle
from pybroker_server.runtime.runtime import Runtime
from pybroker_server.telemetry.events import get_logger

RETRY_MS: Final = 200
Plan = Callable[[MetadataImage, BrokerConfig, int], Change]
"""(image, configuration, partitions that may be changed at once)"""
_log = get_logger("pybroker.controller")


class Reactor:
    """`start`, then it acts by itself; `stop` before the store is closed."""

    def __init__(
        self,
        node_id: int,
        publisher: MetadataPublisher,
        controller: Controller,
        membership: Membership,
        runtime: Runtime,
        config: Callable[[], BrokerConfig],
        *,
        batch_size: int,
    ) -> None:
        """`batch_size`: partitions that one commit may change."""
        self._node_id = node_id
        self._publisher = publisher
        self._controller = controller
        self._membership = membership
        self._runtime = runtime
        self._config = config
        self._batch_size = batch_size
        self._wake = asyncio.Event()
        self._must_rebalance = False
        self._rebalance_timer: TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._publisher.subscribe(self._on_image)
        self._task = self._runtime.tasks.spawn("controller", self._run())
        self._wake.set()
        self._arm_rebalance()

    async def stop(self) -> None:
        if self._rebalance_timer is not None:
            self._rebalance_timer.cancel()
            self._rebalance_timer = None
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    @property
    def is_in_office(self) -> bool:
        seat = self._publisher.image.controller_in_office()
        return seat is not None and seat.node_id == self._node_id and seat.broker_epoch == self._membership.epoch

    def _on_image(self, old: MetadataImage, new: MetadataImage) -> None:
        if (
            old.brokers is not new.brokers
            or old.topics_by_id is not new.topics_by_id
            or old.controller != new.controller
        ):
            self._wake.set()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._act()
            except KafkaError as error:
                _log.warning("controller_change_failed", error=str(error))
                self._runtime.timers.call_after_ms(RETRY_MS, self._wake.set)

    async def _act(self) -> None:
        if self._publisher.image.controller_in_office() is None:
            await self._controller.change(self._plan_seat)
        while self.is_in_office:
            before = self._publisher.image.revision
            await self._controller.change(self._as_controller(plan_settling))
            if self._publisher.image.revision == before:
                break
        if self._must_rebalance and self.is_in_office:
            self._must_rebalance = False
            await self._controller.change(self._as_controller(plan_preferred_leaders))

    def _plan_seat(self, image: MetadataImage) -> Change:
        """Takes the seat if it is vacant and this broker is registered and staying."""
        me = image.brokers.get(self._node_id)
        if (
            image.controller_in_office() is not None
            or me is None
            or not me.is_active
            or me.epoch != self._membership.epoch
        ):
            return Change()
        return Change(
            compares=[
                Compare(CONTROLLER_KEY, image.controller.mod_revision if image.controller else 0),
                Compare(broker_key(me.node_id), me.mod_revision),
            ],
            puts=[Put(CONTROLLER_KEY, encode_controller(me.node_id, me.epoch), self._membership.lease_id)],
        )

    def _as_controller(self, plan: Plan) -> Callable[[MetadataImage], Change]:
        return partial(self._plan_in_office, plan=plan)

    def _plan_in_office(self, image: MetadataImage, plan: Plan) -> Change:
        seat = image.controller_in_office()
        if seat is None or seat.node_id != self._node_id:
            return Change()
        change = plan(image, self._config(), self._batch_size)
        if not change.is_empty:
            change.compares.append(Compare(CONTROLLER_KEY, seat.mod_revision))
        return change

    # -- preferred leaders

    def _arm_rebalance(self) -> None:
        config = self._config()
        if config.auto_leader_rebalance_enable:
            delay_ms = config.leader_imbalance_check_interval_seconds * 1000
            self._rebalance_timer = self._runtime.timers.call_after_ms(delay_ms, self._on_rebalance)

    def _on_rebalance(self) -> None:
        self._must_rebalance = True
        self._wake.set()
        self._arm_rebalance()
