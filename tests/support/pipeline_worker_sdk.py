"""The same worker as `pipeline_worker.py`, with the SDK's own pipeline.

    python -m tests.support.pipeline_worker_sdk BOOTSTRAP GROUP_PROTOCOL WORKER SOURCE TARGETS

One record in fifty fails at the first try, after the results of those before it were said: its transaction is aborted
and done again.
"""

from __future__ import annotations

import asyncio
import random
import sys
from typing import Literal, cast

from tests.support.pipeline_worker import BATCH, GROUP, Tally

from pybroker import KafkaError, Output, Pipeline, Record

FAILING_SHARE = 0.02


async def work(bootstrap: str, protocol: str, name: str, source: str, targets: list[str]) -> None:
    """Until it must be made anew: raises KafkaError."""
    chance, tally, told = random.Random(name), Tally(), 0
    pipeline = Pipeline(
        source,
        group=GROUP,
        bootstrap=bootstrap,
        transactional_id=name,
        batch_records=BATCH,
        group_protocol=cast(Literal["classic", "consumer"], protocol),
    )

    def copy(record: Record, out: Output) -> None:
        nonlocal told
        tally.add(pipeline.transactions - told)
        told = pipeline.transactions
        for target in targets:
            out.send(target, record.value, partition=record.partition)
        if chance.random() < FAILING_SHARE:
            raise RuntimeError("on purpose")

    async with pipeline:
        await pipeline.run(copy)


def main(bootstrap: str, protocol: str, name: str, source: str, targets: str) -> None:
    while True:
        try:
            asyncio.run(work(bootstrap, protocol, name, source, targets.split(",")))
        except (KafkaError, RuntimeError) as failure:
            print("begins anew:", failure, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
