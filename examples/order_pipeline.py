"""Four services and a poison message: A emits orders, B enriches and publishes them, X bills and Y ships.

    pybroker serve &
    python examples/order_pipeline.py

runs all four in one process. In earnest each is a process of its own, and as many of each as there is work for: give a
role (emit, enrich, bill, ship). Every service can be killed and started again at any moment: what it had not finished
comes again, to it or to another of its group.

The last of the orders is poison: it is no JSON. B tries it three times and then puts it aside, into orders.dead, where
its headers tell where it came from and why it is there. Everything else arrives.
"""

from __future__ import annotations

import asyncio
import sys

from pybroker import Admin, Client, Consumer, Json, Message, Producer, Record, Retry

ORDERS, ENRICHED, DEAD = "orders", "orders.enriched", "orders.dead"
COUNT = 1_000
PRICES = {"tea": 4, "coffee": 6, "water": 1}


async def emit(client: Client, count: int = COUNT) -> None:
    """A: orders, by customer, and one message that is none."""
    things = sorted(PRICES)
    orders = [
        Message({"id": number, "customer": f"c{number % 20}", "thing": things[number % 3]}, key=b"c%d" % (number % 20))
        for number in range(count)
    ]
    async with Producer(client=client, value_codec=Json()) as producer:
        await producer.send_many(ORDERS, orders)
    async with Producer(client=client) as producer:
        await producer.send(ORDERS, b"{poison", key=b"c7")
    print(f"emit: {count} orders and one poison message")


async def enrich(client: Client, until: asyncio.Event) -> None:
    """B: adds the price and publishes. A customer's orders stay in order, customers are worked on side by side."""
    async with (
        Producer(client=client, value_codec=Json()) as producer,
        Consumer(ORDERS, group="enrich", client=client, value_codec=Json()) as consumer,
        consumer.stream(concurrency=16, retry=Retry(attempts=3, first=0.05), dead_letter=DEAD) as stream,
    ):

        async def handle(record: Record) -> None:
            order = record.value
            await producer.send(ENRICHED, {**order, "price": PRICES[order["thing"]]}, key=record.key)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(stream.run(handle))
            await until.wait()
            stream.stop()


async def bill(client: Client, count: int = COUNT) -> None:
    """X: what is owed. An order that comes twice is billed once, since its id is known."""
    prices: dict[int, int] = {}
    async with Consumer(ENRICHED, group="bill", client=client, value_codec=Json()) as consumer:
        async for record in consumer:
            prices[record.value["id"]] = record.value["price"]
            if len(prices) == count:
                break
    print(f"bill: {len(prices)} orders, {sum(prices.values())} owed")


async def ship(client: Client, count: int = COUNT) -> None:
    """Y: the same orders, for another purpose: groups do not disturb each other."""
    shipped: dict[str, set[int]] = {}
    async with Consumer(ENRICHED, group="ship", client=client, value_codec=Json()) as consumer:
        async for record in consumer:
            shipped.setdefault(record.value["customer"], set()).add(record.value["id"])
            if sum(map(len, shipped.values())) == count:
                break
    print(f"ship: {sum(map(len, shipped.values()))} orders to {len(shipped)} customers")


async def buried(client: Client) -> None:
    """Wait for the poison message where it was put aside, and tell what it says."""
    async with Consumer(DEAD, client=client, start="earliest") as consumer:
        async for record in consumer:
            told = {name.removeprefix("__dlq.errors."): (value or b"").decode() for name, value in record.headers}
            origin = f"{told['topic']}-{told['partition']} at {told['offset']}"
            print(f"dead: {record.value!r} from {origin}, tried {told['delivery.count']} times: {told['exception']}")
            return


async def main(role: str = "all") -> None:
    async with Client.from_env() as client:
        async with Admin(client=client) as admin:
            for topic, partitions in ((ORDERS, 6), (ENRICHED, 6), (DEAD, 1)):
                await admin.create_topic(topic, partitions=partitions, exist_ok=True)
        if role == "all":
            done = asyncio.Event()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(enrich(client, done))
                await asyncio.gather(emit(client), bill(client), ship(client), buried(client))
                done.set()
        elif role == "enrich":
            await enrich(client, asyncio.Event())
        else:
            await {"emit": emit, "bill": bill, "ship": ship}[role](client)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
