"""A member of a group in a process of its own, to be killed: writes what it owns and what it has handled to a file.

    python -m tests.support.sdk_member_process BOOTSTRAP TOPIC GROUP FILE {"stream": true, ...options of Consumer}

Lines are JSON: [monotonic time, "assigned" | "revoked" | "lost" | "handled", ...]. SIGTERM makes it leave.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
from typing import Any

from pybroker import Assigned, Consumer, GroupEvent, Record, Revoked, Slow


async def main(bootstrap: str, topic: str, group: str, file: str, options_text: str) -> None:
    options: dict[str, Any] = json.loads(options_text)
    uses_stream = options.pop("stream", False)
    log = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)

    def write(*words: Any) -> None:
        os.write(log, (json.dumps([time.monotonic(), *words]) + "\n").encode())

    def on_event(event: GroupEvent) -> None:
        if not isinstance(event, Slow):
            kind = "assigned" if isinstance(event, Assigned) else "revoked" if isinstance(event, Revoked) else "lost"
            write(kind, [tp.partition for tp in event.partitions], consumer.group_metadata.generation)

    async def handle(record: Record) -> None:
        await asyncio.sleep(random.random() * 0.002)
        write("handled", record.partition, record.offset, int(record.value))

    consumer = Consumer(topic, group=group, bootstrap=bootstrap, on_event=on_event, commit_interval=0.1, **options)
    async with consumer:
        if uses_stream:
            async with consumer.stream(concurrency=8) as stream, asyncio.TaskGroup() as tasks:
                tasks.create_task(stream.run(handle))
                await stop.wait()
                stream.stop()
        else:
            while not stop.is_set():
                for record in await consumer.poll(20, time_limit=0.05):
                    await handle(record)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
