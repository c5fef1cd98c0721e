"""Our own SDK behind the face of `transactional_clients`."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, Final, Literal

import pybroker
from pybroker.errors import Fenced as SdkFenced

__all__ = ["Sdk", "SdkFenced"]

TIMEOUT_S: Final = 30


class Sdk:
    """`pybroker`, on an event loop in a thread of its own."""

    def __init__(self, bootstrap: str, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._producer = pybroker.Producer(bootstrap, transactional_id=name)
        self._transaction: pybroker.Transaction[bytes, bytes] | None = None
        self._call(self._producer.__aenter__())

    def _call(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(TIMEOUT_S)

    @property
    def _current(self) -> pybroker.Transaction[bytes, bytes]:
        assert self._transaction is not None
        return self._transaction

    def begin(self) -> None:
        self._transaction = self._producer.transaction()
        self._call(self._transaction.__aenter__())

    def send(self, topic: str, value: bytes, partition: int = 0) -> None:
        async def send() -> None:
            try:
                await (await self._current.send(topic, value, partition=partition))
            except pybroker.KafkaError as error:
                # Whether it was fenced is found out when the transaction is ended, as a block does it.
                await self._current.__aexit__(type(error), error, None)
                raise

        self._call(send())

    def send_offset(self, group: str, topic: str, offset: int) -> None:
        nobody = pybroker.GroupMetadata(group, -1, "", None)
        self._call(self._current.commit_offsets(nobody, {(topic, 0): offset}))

    def commit(self) -> None:
        self._call(self._current.__aexit__(None, None, None))

    def abort(self) -> None:
        self._call(self._current.abort())

    def close(self) -> None:
        self._call(self._producer.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @staticmethod
    def read(
        bootstrap: str, topic: str, upto: int, isolation: Literal["read_uncommitted", "read_committed"]
    ) -> list[bytes]:
        async def read() -> list[bytes]:
            values: list[bytes] = []
            async with (
                asyncio.timeout(TIMEOUT_S),
                pybroker.Consumer(
                    bootstrap=bootstrap, partitions=[(topic, 0)], start="earliest", isolation=isolation
                ) as consumer,
            ):
                while (consumer.position(topic, 0) or 0) < upto:
                    values += [record.value for record in await consumer.poll(time_limit=0.1)]
            return values

        return asyncio.run(read())
