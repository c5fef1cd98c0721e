"""A process of producers or of consumers: `python -m pybroker_bench.worker FD`, started by the coordinator.

It is told what to do in lines of JSON over the socket FD, and answers in the same way:

    {"do": "open"}                                   {"is": "open"}
    {"do": "fill", "records": N}                     {"is": "filled", "seconds", "records"}
    {"do": "start", "start_ns", "first_ns", "last_ns"}   {"is": "progress", ...} every half second; {"is": "done"}
    {"do": "written"}                                {"is": "written", "members": [...]}
    {"do": "account"}                                {"is": "account", "members": [...]}
    {"do": "finish"}                                 {"is": "finished", "members": [...], "cpu_s"}

and {"is": "failed", "why"} at any time. Rules: the first line is the specification. A process has an event loop of its
own. When the socket ends, the process ends.
"""

from __future__ import annotations

import asyncio
import gc
import json
import resource
import socket
import sys
import time
from collections.abc import Coroutine, Mapping
from typing import Any, Final

import uvloop

from pybroker import KafkaError
from pybroker_bench.clients.base import Reading, consumer_client, producer_client
from pybroker_bench.consuming import Consuming
from pybroker_bench.counting import Flow, Window
from pybroker_bench.errors import BenchError
from pybroker_bench.producing import Producing
from pybroker_bench.scenario import from_mapping
from pybroker_bench.verify import Checker

LINE_BYTES_MAX: Final = 1 << 28
_PROGRESS_S: Final = 0.5
_FIRST_RECORDS: Final = 2_000


class Worker:
    def __init__(self, spec: Mapping[str, Any], writer: asyncio.StreamWriter, tasks: asyncio.TaskGroup) -> None:
        self._writer = writer
        self._tasks = tasks
        self._scenario = from_mapping(spec["scenario"])
        self._window = Window()
        self._bootstrap: str = spec["bootstrap"]
        self._topics: list[str] = spec["topics"]
        self._tag: int = spec["tag"]
        self._producers = [self._producer(number) for number in spec["producers"]]
        self._consumers = [self._consumer(each) for each in spec["consumers"]]

    def _producer(self, number: int) -> Producing:
        scenario = self._scenario
        latencies = [
            "publish",
            *(["ack", "publish_delay"] if scenario.rate and not scenario.transaction_records else []),
        ]
        latencies += ["commit"] if scenario.transaction_records else []
        client = producer_client(scenario.client, self._bootstrap, scenario, self._topics, number)
        return Producing(scenario, client, self._topics, number, self._tag, Flow(self._window, *latencies))

    def _consumer(self, spec: Mapping[str, Any]) -> Consuming:
        scenario = self._scenario
        reading = Reading(
            topics=self._topics,
            partitions=[(self._topics[topic], partition) for topic, partition in spec["partitions"]],
            group=spec["group"],
            keeps_values=scenario.is_verified,
            read_committed=scenario.transaction_records > 0,
        )
        return Consuming(
            spec["subscription"],
            lambda: consumer_client(scenario.consuming_client, self._bootstrap, reading),
            {name: index for index, name in enumerate(self._topics)},
            Checker(self._tag) if scenario.is_verified else None,
            Flow(self._window, "end_to_end"),
            scenario.mean_bytes,
        )

    async def obey(self, order: Mapping[str, Any]) -> None:
        match order["do"]:
            case "open":
                await _all([each.open() for each in self._producers] + [each.open() for each in self._consumers])
                for consumer in self._consumers:
                    self._tasks.create_task(consumer.run())
                self.tell({"is": "open"})
            case "fill":
                share = order["records"] // len(self._producers)
                # The first records open connections and find out leaders: they are not timed.
                first = min(share // 10, _FIRST_RECORDS)
                await _all(each.fill(first) for each in self._producers)
                started = time.monotonic()
                await _all(each.fill(share - first) for each in self._producers)
                seconds = time.monotonic() - started
                self.tell({"is": "filled", "seconds": seconds, "records": (share - first) * len(self._producers)})
            case "start":
                self._window.set(order["first_ns"], order["last_ns"])
                self._tasks.create_task(self._run(order))
                self._tasks.create_task(self._tell_progress())
            case "written":
                members = [{"records": e.flow.all_records, "account": e.account.to_json()} for e in self._producers]
                self.tell({"is": "written", "members": members})
            case "account":
                self.tell({"is": "account", "members": [self._account(each) for each in self._consumers]})
            case "finish":
                for consumer in self._consumers:
                    consumer.stop()
                await _all(each.close() for each in self._producers)
                self.tell(self._results())

    async def _run(self, order: Mapping[str, Any]) -> None:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        churn_s = self._scenario.churn_s
        for index, consumer in enumerate(self._consumers if churn_s else ()):
            shift = churn_s * (index + 1) / len(self._consumers)
            consumer.leave_every(churn_s, order["first_ns"] + int(shift * 1e9))
        await _all(each.run(order["start_ns"], order["last_ns"]) for each in self._producers)
        after = resource.getrusage(resource.RUSAGE_SELF)
        self.tell({"is": "done", "cpu_s": after.ru_utime + after.ru_stime - usage.ru_utime - usage.ru_stime})

    async def _tell_progress(self) -> None:
        while True:
            await asyncio.sleep(_PROGRESS_S)
            produced = [each.flow.progress() for each in self._producers]
            consumed = [each.flow.progress() for each in self._consumers]
            self.tell({"is": "progress", "produced": produced, "consumed": consumed})

    def _account(self, consumer: Consuming) -> dict[str, Any]:
        seen = consumer.checker.to_json() if consumer.checker else None
        return {"subscription": consumer.subscription, "records": consumer.flow.all_records, "seen": seen}

    def _results(self) -> dict[str, Any]:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "is": "finished",
            "producers": [{"flow": each.flow.to_json(), "account": each.account.to_json()} for each in self._producers],
            "consumers": [
                self._account(each) | {"flow": each.flow.to_json(), "rejoins": each.rejoins} for each in self._consumers
            ],
            "cpu_s": usage.ru_utime + usage.ru_stime,
        }

    def tell(self, message: Mapping[str, Any]) -> None:
        self._writer.write(json.dumps(message).encode() + b"\n")


async def _all(work: Any) -> None:
    async with asyncio.TaskGroup() as tasks:
        for each in work:
            tasks.create_task(each)


async def serve(connection: socket.socket) -> None:
    reader, writer = await asyncio.open_connection(sock=connection, limit=LINE_BYTES_MAX)
    spec = json.loads(await reader.readline())
    try:
        async with asyncio.TaskGroup() as tasks:
            worker = Worker(spec, writer, tasks)
            # What lives from now on is looked through once, not at every collection.
            gc.collect()
            gc.freeze()
            work = tasks.create_task(_obey_all(reader, worker))
            await work
            raise _Over
    except* _Over:
        pass
    except* (BenchError, KafkaError) as failures:
        reason: BaseException = failures
        while isinstance(reason, BaseExceptionGroup):
            reason = reason.exceptions[0]
        why = reason.format_message() if isinstance(reason, BenchError) else str(reason)
        writer.write(json.dumps({"is": "failed", "why": why}).encode() + b"\n")
        # The loop writes when it next turns: without waiting for that it would end with the message unsent.
        writer.close()
        await writer.wait_closed()


class _Over(Exception):
    """The coordinator has hung up: the tasks that still run are cancelled with the group."""


async def _obey_all(reader: asyncio.StreamReader, worker: Worker) -> None:
    while line := await reader.readline():
        await worker.obey(json.loads(line))


def run(main: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)


if __name__ == "__main__":
    run(serve(socket.socket(fileno=int(sys.argv[1]))))
