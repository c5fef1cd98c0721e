"""Exactly once from end to end: A emits payments, B enriches them, X stores them, Y counts them in live windows.

    pybroker serve &
    python examples/exactly_once.py emit      # A
    python examples/exactly_once.py enrich    # B; start as many as there is work for, with a number each: enrich 2
    python examples/exactly_once.py store     # X
    python examples/exactly_once.py count     # Y

Kill any of them, or the broker, whenever you like and start it again: each payment is stored and counted once.

A is a plain producer: retries of it are recognised by the broker. B is a pipeline: what it reads, writes and where it
goes on are one transaction. X keeps its positions in its own database, in one transaction with what it stores. Y keeps
nothing: it reads the topic from its beginning and counts what was committed.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import sys
from collections import Counter

from pybroker import Admin, Client, Consumer, Json, Message, Output, Pipeline, Producer, Record, Retry

PAYMENTS, PRICED, DEAD = "payments", "payments.priced", "payments.dead"
COUNT = int(os.environ.get("COUNT", "2000"))
DATABASE = os.environ.get("DATABASE", "payments.sqlite")
RATES = {"eur": 100, "usd": 93, "gbp": 117}
WINDOW_S = 10
FIRST_S = 1_700_000_000


async def emit(client: Client) -> None:
    """A: payments of a hundred customers, ten a second by their own clock, and one that nobody can price."""
    kinds = sorted(RATES)
    payments = [
        Message({"id": number, "kind": kinds[number % 3], "at": FIRST_S + number // 10}, key=b"c%d" % (number % 100))
        for number in range(COUNT)
    ]
    payments.append(Message({"id": -1, "kind": "shells", "at": FIRST_S}, key=b"c7"))
    async with Producer(client=client, value_codec=Json(), delivery_timeout=600) as producer:
        for first in range(0, len(payments), 100):
            await producer.send_many(PAYMENTS, payments[first : first + 100])
    print(f"emit: {COUNT} payments and a bad one")


async def enrich(client: Client, number: str = "1") -> None:
    """B: the value in cents. What cannot be priced is put aside, in the same transaction as the rest."""

    def price(record: Record, out: Output) -> None:
        payment = record.value
        out.send(PRICED, {**payment, "cents": RATES[payment["kind"]]}, key=record.key)

    async with Pipeline(
        PAYMENTS,
        group="enrich",
        client=client,
        transactional_id=f"enrich-{number}",
        batch_records=100,
        retry=Retry(attempts=2, first=0.01),
        dead_letter=DEAD,
        value_codec=Json(),
        out_value_codec=Json(),
    ) as pipeline:
        await pipeline.run(price)


async def store(client: Client) -> None:
    """X: into a table, whose primary key would refuse a payment that came twice."""
    database = sqlite3.connect(DATABASE)
    database.execute("CREATE TABLE IF NOT EXISTS payments (id INTEGER PRIMARY KEY, cents INTEGER)")
    database.execute("CREATE TABLE IF NOT EXISTS positions (part INTEGER PRIMARY KEY, next INTEGER)")
    async with Admin(client=client) as admin:
        parts = [partition.index for partition in (await admin.topic(PRICED)).partitions]
    positions = dict(database.execute("SELECT part, next FROM positions"))
    async with Consumer(
        client=client, partitions=[(PRICED, part) for part in parts], value_codec=Json(), isolation="read_committed"
    ) as consumer:
        for part in parts:
            consumer.seek(positions.get(part, 0), [(PRICED, part)])
        async for records in consumer.batches():
            with database:
                rows = [(record.value["id"], record.value["cents"]) for record in records]
                database.executemany("INSERT INTO payments VALUES (?, ?)", rows)
                at = (records[-1].partition, records[-1].offset + 1)
                database.execute("INSERT OR REPLACE INTO positions VALUES (?, ?)", at)
            (stored,) = database.execute("SELECT count(*) FROM payments").fetchone()
            if stored >= COUNT:
                break
    print(f"store: {stored} payments, {database.execute('SELECT sum(cents) FROM payments').fetchone()[0]} cents")


async def count(client: Client) -> None:
    """Y: payments by kind in windows of ten seconds, shown when a window is complete."""
    windows: dict[int, Counter[str]] = {}
    seen = 0
    async with Consumer(
        PRICED, client=client, start="earliest", value_codec=Json(), isolation="read_committed"
    ) as consumer:
        async for record in consumer:
            window = windows.setdefault(record.value["at"] // WINDOW_S * WINDOW_S, Counter())
            window[record.value["kind"]] += 1
            seen += 1
            if window.total() == WINDOW_S * 10:
                at = record.value["at"] // WINDOW_S * WINDOW_S - FIRST_S
                print(f"count: {at:4} s " + " ".join(f"{kind}={n}" for kind, n in sorted(window.items())), flush=True)
            if seen == COUNT:
                break
    print(
        f"count: {json.dumps({at - FIRST_S: dict(sorted(window.items())) for at, window in sorted(windows.items())})}"
    )


async def main(role: str = "", *arguments: str) -> None:
    roles = {"emit": emit, "enrich": enrich, "store": store, "count": count}
    if role not in roles:
        sys.exit(f"name a role: {', '.join(roles)}")
    async with Client.from_env(connect_timeout=600) as client:
        async with Admin(client=client, timeout=600) as admin:
            for topic, partitions in ((PAYMENTS, 6), (PRICED, 6), (DEAD, 1)):
                await admin.create_topic(topic, partitions=partitions, exist_ok=True)
        await roles[role](client, *arguments)  # type: ignore[operator]


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
