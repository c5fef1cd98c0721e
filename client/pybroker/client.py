"""The client: what producers, consumers and admins of one application share.

Rules: one `Client` owns the connections, the view of the cluster and the task that keeps it fresh; producers,
consumers and admins are views of it that come and go. Refreshes are made by that one task, however many ask for one.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from pybroker.connection import BrokerConnection
from pybroker.errors import Closed, ConnectionFailed, KafkaError, NotFound, Retriable, TimedOut, error_for
from pybroker.metadata import Broker, ClusterView, TopicPartition, TopicView
from pybroker.pool import MAIN, Pool, parse_bootstrap
from pybroker.retry import Backoff
from pybroker.tasks import TaskOwner
from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode
from pybroker_protocol.messages import MetadataRequest, MetadataResponse
from pybroker_protocol.schema.classes import Message

if TYPE_CHECKING:
    from pybroker.codecs import Codec
    from pybroker.producer_input import HeadersIn
    from pybroker.record import Record
    from pybroker.request_reply import RequestReply

__all__ = ["DEFAULT_BOOTSTRAP", "Client"]

DEFAULT_BOOTSTRAP: Final = "localhost:9092"
_BOOTSTRAP_VARIABLES = ("PYBROKER_BOOTSTRAP", "KAFKA_BOOTSTRAP_SERVERS")
_CLIENT_ID_VARIABLES = ("PYBROKER_CLIENT_ID", "KAFKA_CLIENT_ID")


class Client:
    """`async with Client("host:9092") as client:`, then `Producer(client)`, `Consumer(..., client=client)`.

    `bootstrap` is "host:port,host:port" or a list; `client_id` is how brokers name us in their logs and quotas.
    Durations are seconds. `frame_bytes_max` bounds what a broker can make us receive in one response.
    """

    def __init__(
        self,
        bootstrap: str | Sequence[str] = DEFAULT_BOOTSTRAP,
        *,
        client_id: str | None = "pybroker",
        request_timeout: float = 30.0,
        connect_timeout: float = 10.0,
        metadata_max_age: float = 60.0,
        frame_bytes_max: int = 128 * 1024 * 1024,
    ) -> None:
        self.bootstrap = parse_bootstrap(bootstrap)
        self.client_id = client_id
        self.request_timeout = request_timeout
        self.connect_timeout = connect_timeout
        self.cluster = ClusterView()
        self.tasks = TaskOwner(f"client {client_id or ''}".strip())
        self.pool = Pool(
            self.bootstrap,
            self.tasks,
            client_id=client_id,
            connect_timeout=connect_timeout,
            frame_bytes_max=frame_bytes_max,
        )
        self.metadata_max_age = metadata_max_age
        self._backoff = Backoff()
        self._topics: Counter[str] = Counter()
        self._creatable: Counter[str] = Counter()
        self._listeners: list[Callable[[ClusterView], None]] = []
        self._refresh_waiters: list[asyncio.Future[None]] = []
        self._refresh_wanted = asyncio.Event()
        self._is_open = False
        self._request_reply: RequestReply | None = None

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ, **options: Any) -> Client:
        """A client of PYBROKER_BOOTSTRAP or KAFKA_BOOTSTRAP_SERVERS, and PYBROKER_CLIENT_ID or KAFKA_CLIENT_ID."""
        bootstrap = next((environ[name] for name in _BOOTSTRAP_VARIABLES if environ.get(name)), DEFAULT_BOOTSTRAP)
        client_id = next((environ[name] for name in _CLIENT_ID_VARIABLES if environ.get(name)), None)
        if client_id is not None:
            options.setdefault("client_id", client_id)
        return cls(bootstrap, **options)

    async def __aenter__(self) -> Client:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """Connect and learn the cluster. Raises `ConnectionFailed` after `connect_timeout` of trying."""
        self.tasks.check()
        if self._is_open:
            return
        deadline = asyncio.get_running_loop().time() + self.connect_timeout
        try:
            await self._first_refresh(deadline)
        except BaseException:
            await self.close()
            raise
        self._is_open = True
        self.tasks.spawn("metadata", self._keep_fresh())

    def check(self) -> None:
        """Raise `Closed` unless it is open, or what ended it."""
        self.tasks.check()
        if not self._is_open:
            raise Closed("the client is not open: use it in `async with`, or what owns it")

    async def close(self) -> None:
        """End every task and connection. Harmless when repeated."""
        self._is_open = False
        request_reply, self._request_reply = self._request_reply, None
        try:
            if request_reply is not None:
                await request_reply.close()
        finally:
            await self._end()

    async def _end(self) -> None:
        # What follows waits, and may be cancelled there: by then all that lives on is on its way out.
        self.tasks.cancel()
        self.pool.abort()
        self._end_round(ConnectionFailed("the client was closed"))
        await self.tasks.close()
        await self.pool.close()

    # Request and reply.

    async def request(
        self,
        topic: str,
        value: Any,
        *,
        timeout: float = 30.0,  # noqa: ASYNC109 - the whole exchange's, which no single await of the caller's is
        key: bytes | str | None = None,
        headers: HeadersIn | None = None,
        reply_topic: str | None = None,
        value_codec: Codec[Any] | None = None,
    ) -> Record:
        """Send a request and wait for its reply, which somebody sends by `record.reply(value)`, or Spring Kafka.

        reply_topic: by default "<topic>.replies"; it is created where it is not there. value_codec: of the request's
        and the reply's values; bytes by default. Raises `TimedOut` after `timeout` seconds, which says nothing of
        whether the request was served.
        """
        return await self._replier().request(
            topic,
            value,
            time_limit=timeout,
            key=key,
            headers=headers,
            reply_topic=reply_topic,
            value_codec=value_codec,
        )

    async def reply(self, record: Record, value: bytes | None, key: Any, headers: Any) -> None:
        """Send the reply to a record that asks for one: what `record.reply` does."""
        await self._replier().reply(record, value, key, headers)

    def _replier(self) -> RequestReply:
        from pybroker.request_reply import RequestReply  # it is made of views of this client

        self.check()
        if self._request_reply is None:
            self._request_reply = RequestReply(self)
        return self._request_reply

    # What is known of the cluster.

    def on_update(self, listener: Callable[[ClusterView], None]) -> Callable[[], None]:
        """Have `listener(cluster)` called after each change of the view; returns what ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def track(self, topics: Sequence[str], *, may_create: bool = False) -> None:
        """Keep these topics in the view until `untrack`. `may_create`: brokers may create them on the way."""
        self._topics.update(topics)
        if may_create:
            self._creatable.update(topics)
        if any(topic not in self.cluster.topics for topic in topics):
            self.request_refresh()

    def untrack(self, topics: Sequence[str], *, may_create: bool = False) -> None:
        self._topics.subtract(topics)
        if may_create:
            self._creatable.subtract(topics)
        gone = [topic for topic in topics if self._topics[topic] <= 0]
        self._topics = +self._topics
        self._creatable = +self._creatable
        self.cluster = self.cluster.without_topics(gone)

    def request_refresh(self) -> None:
        """Ask for fresh metadata soon, without waiting."""
        self._refresh_wanted.set()

    async def refresh(self) -> ClusterView:
        """Wait for metadata that was asked for after this call. Raises what made that fail."""
        self.tasks.check()
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._refresh_waiters.append(waiter)
        self._refresh_wanted.set()
        await waiter
        return self.cluster

    async def topic(self, name: str, *, time_limit: float) -> TopicView:
        """A tracked topic, waiting for it to appear. Raises `NotFound` after `time_limit`, or why it never will."""
        topic = self.cluster.topic(name)
        if topic is not None and topic.exists:
            return topic
        loop = asyncio.get_running_loop()
        deadline = loop.time() + time_limit
        attempt = 0
        while True:
            error = await self._refresh_until(deadline, f"topic {name}")
            topic = self.cluster.topic(name)
            if topic is not None and topic.exists:
                return topic
            if topic is not None and topic.error is not ErrorCode.NONE and not topic.error.retriable:
                raise error_for(topic.error, f"topic {name}")
            attempt += 1
            delay = self._backoff.delay(attempt, random.random())
            if loop.time() + delay > deadline:
                if error is not None:
                    raise error
                raise NotFound(f"topic {name} does not exist", code=ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
            await asyncio.sleep(delay)

    def learn_leader(
        self, tp: TopicPartition, leader: int, leader_epoch: int, endpoints: Sequence[Broker] = ()
    ) -> None:
        """Take over a leader that a broker named when it refused a request (KIP-951)."""
        self._set_cluster(self.cluster.with_leader(tp, leader, leader_epoch, endpoints))

    # Requests that any broker, or the controller, can answer.

    async def ask_any(self, api: ApiKey, request: Message, *, time_limit: float | None = None) -> Any:
        """Ask whichever broker can be reached, once."""
        return await self.ask(await self.pool.any(), api, request, time_limit=time_limit)

    async def ask_node(self, node: int, api: ApiKey, request: Message, *, time_limit: float | None = None) -> Any:
        """Ask one broker, once."""
        return await self.ask(await self.pool.connect(node, MAIN), api, request, time_limit=time_limit)

    async def ask(
        self, connection: BrokerConnection, api: ApiKey, request: Message, *, time_limit: float | None = None
    ) -> Any:
        """Ask over this connection in the newest version that both sides speak."""
        limit = self.request_timeout if time_limit is None else time_limit
        return await connection.request(request, connection.version_for(api), limit)

    # The task that keeps the view fresh.

    async def _first_refresh(self, deadline: float) -> None:
        loop = asyncio.get_running_loop()
        error = None
        while loop.time() < deadline:
            try:
                async with asyncio.timeout_at(deadline):
                    await self._refresh_once()
                return
            except ConnectionFailed as failure:
                error = failure
            except TimeoutError:
                break
        raise error or ConnectionFailed(
            f"no broker of {self.pool.bootstrap_text} answered within {self.connect_timeout:g} s"
        )

    async def _keep_fresh(self) -> None:
        failures = 0
        while True:
            try:
                async with asyncio.timeout(self._time_to_next_refresh):
                    await self._refresh_wanted.wait()
            except TimeoutError:
                pass
            self._refresh_wanted.clear()
            round_, self._refresh_waiters = self._refresh_waiters, []
            try:
                await self._refresh_once()
            except KafkaError as error:
                failures += 1
                _end(round_, error)
                self._refresh_wanted.set()
            except BaseException:
                _end(round_, ConnectionFailed("the client was closed"))
                raise
            else:
                failures = 0
                _end(round_, None)
            # Also after success: a storm of errors must not become a storm of Metadata requests.
            await asyncio.sleep(self._backoff.delay(failures, random.random()) if failures else _REFRESH_INTERVAL)

    @property
    def _time_to_next_refresh(self) -> float:
        """Seconds until metadata is asked for unasked: soon while somebody waits for a topic to appear."""
        is_complete = all(map(self._is_known, self._topics))
        return self.metadata_max_age if is_complete else min(self.metadata_max_age, _ABSENT_TOPIC_INTERVAL)

    async def _refresh_once(self) -> None:
        connection = await self.pool.any()
        creatable = [topic for topic in self._creatable if not self._is_known(topic)]
        others = [topic for topic in self._topics if topic not in creatable]
        responses = [await self._ask_metadata(connection, others, may_create=False)]
        if creatable:
            responses.append(await self._ask_metadata(connection, creatable, may_create=True))
        view = self.cluster
        for response in responses:
            view = view.updated(response)
        self._set_cluster(view.without_topics([name for name in view.topics if name not in self._topics]))

    def _is_known(self, topic: str) -> bool:
        view = self.cluster.topic(topic)
        return view is not None and view.exists

    async def _ask_metadata(
        self, connection: BrokerConnection, topics: Sequence[str], *, may_create: bool
    ) -> MetadataResponse:
        request = MetadataRequest(
            topics=[MetadataRequest.MetadataRequestTopic(name=name) for name in topics],
            allow_auto_topic_creation=may_create,
        )
        response: MetadataResponse = await self.ask(connection, ApiKey.METADATA, request)
        if response.error_code:
            raise error_for(response.error_code, "metadata")
        return response

    def _set_cluster(self, view: ClusterView) -> None:
        if view is self.cluster:
            return
        self.cluster = view
        self.pool.update_brokers(view.brokers)
        for listener in tuple(self._listeners):
            listener(view)

    async def _refresh_until(self, deadline: float, what: str) -> KafkaError | None:
        """Refresh; the error if that failed for now, which may be tried again."""
        try:
            async with asyncio.timeout_at(deadline):
                await self.refresh()
        except TimeoutError:
            raise TimedOut(f"{what}: no metadata in time from {self.pool.bootstrap_text}") from None
        except Retriable as error:
            return error
        return None

    def _end_round(self, error: KafkaError | None) -> None:
        round_, self._refresh_waiters = self._refresh_waiters, []
        _end(round_, error)


_REFRESH_INTERVAL: Final = 0.02
_ABSENT_TOPIC_INTERVAL: Final = 0.5


def _end(waiters: list[asyncio.Future[None]], error: KafkaError | None) -> None:
    for waiter in waiters:
        if waiter.done():
            continue
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(error)
            waiter.exception()
