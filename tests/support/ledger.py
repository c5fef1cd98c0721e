"""The smallest coordinator state there can be, and a broker that hosts it: a number by name, kept in `ledger`.

A number is stored as a committed offset (`OffsetCommit`), whose group is the name. What is written in a transaction
counts from its marker on, as everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from tests.support.one_broker import OneBroker

from pybroker_protocol.messages import OffsetCommitKey, OffsetCommitValue
from pybroker_server.config.views import BrokerConfig
from pybroker_server.coordinator.effects import Effects, Reply
from pybroker_server.coordinator.host import Ask, CoordinatorHost, Led
from pybroker_server.coordinator.records import CoordinatorRecord, RecordTypes
from pybroker_server.coordinator.timeouts import Timeouts
from pybroker_server.metadata.image import MetadataImage

TOPIC = "ledger"
TYPES = RecordTypes(("OffsetCommit",))
_VALUE_VERSION = 3


def entry(name: str, number: int | None, note: str = "") -> CoordinatorRecord:
    """None is a tombstone."""
    value = None if number is None else OffsetCommitValue(offset=number, metadata=note)
    return CoordinatorRecord(OffsetCommitKey(group=name, topic="t", partition=0), value, _VALUE_VERSION)


class Ledger:
    """A `CoordinatorState`. `events` is what the host told it, in order."""

    def __init__(self, config: BrokerConfig, image: MetadataImage) -> None:
        self.timeouts = Timeouts()
        self.numbers: dict[str, int] = {}
        self.open: dict[int, list[CoordinatorRecord]] = {}
        self.events: list[str] = []
        self.config = config
        self.image = image

    def replay(self, record: CoordinatorRecord, producer_id: int, producer_epoch: int) -> None:
        if producer_id >= 0:
            self.open.setdefault(producer_id, []).append(record)
            return
        name = cast(OffsetCommitKey, record.key).group
        if record.value is None:
            self.numbers.pop(name, None)
        else:
            self.numbers[name] = cast(OffsetCommitValue, record.value).offset

    def replay_marker(self, producer_id: int, producer_epoch: int, *, is_commit: bool) -> None:
        for record in self.open.pop(producer_id, []):
            if is_commit:
                self.replay(record, -1, -1)

    def on_loaded(self, effects: Effects) -> None:
        self.events.append("loaded")

    def on_unloaded(self) -> None:
        self.events.append("unloaded")

    def on_image(self, effects: Effects, image: MetadataImage) -> None:
        self.events.append("image")
        self.image = image

    def on_config(self, config: BrokerConfig) -> None:
        self.events.append("config")
        self.config = config


class LedgerBroker(OneBroker):
    """`host` coordinates ledgers; `ledgers` are all that it ever made, oldest first."""

    def __init__(self, settings: Mapping[str, str] | None = None, **more: Any) -> None:
        super().__init__({"transaction.partition.verification.enable": "false", **(settings or {})}, **more)
        self.ledgers: list[Ledger] = []
        self.host: CoordinatorHost[Ledger] = CoordinatorHost(TOPIC, TYPES, self._make, self.manager, self.config)
        self.groups = cast(Any, self.host)

    def _make(self, config: BrokerConfig, image: MetadataImage, led: Led) -> Ledger:
        del led
        self.ledgers.append(Ledger(config, image))
        return self.ledgers[-1]

    @property
    def ledger(self) -> Ledger:
        return self.ledgers[-1]

    def ask(self, question: Ask[Ledger, Any], index: int = 0) -> list[Any]:
        """Where the answer will be: a code when it was refused."""
        given: list[Any] = []
        self.host.run_at(index, question, Reply(given.append, lambda code: code))
        return given

    def put(self, *entries: tuple[str, int | None], index: int = 0) -> list[Any]:
        """Writes these; the answer is "done"."""

        def write(ledger: Ledger, effects: Effects, reply: Reply[Any]) -> None:
            for name, number in entries:
                effects.append(entry(name, number))
            effects.answer(reply, "done")

        return self.ask(write, index)

    def look(self, index: int = 0) -> list[Any]:
        """The answer is all numbers, as they were when it was asked."""
        return self.ask(lambda ledger, effects, reply: effects.answer(reply, dict(ledger.numbers)), index)

    def load(self) -> None:
        """Lets loading threads do their work until there is no more."""
        while self.blocking.submitted:
            self.blocking.run_all()
