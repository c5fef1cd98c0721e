"""InitProducerId without transactions, and who coordinates what."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.support.admin import an_admin_broker
from tests.support.one_broker import OneBroker, topic_image

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode, KafkaError, error_code
from pybroker_protocol.messages import FindCoordinatorRequest, FindCoordinatorResponse, InitProducerIdRequest
from pybroker_server.handlers.find_coordinator import handle_find_coordinator


@pytest.mark.parametrize("version", range(6))
async def test_an_idempotent_producer_always_gets_a_fresh_id(version: int) -> None:
    async with an_admin_broker() as broker:
        request = InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=-1)
        answers = [await broker.ask(version, request) for _ in range(3)]
        assert [(a.error_code, a.producer_id, a.producer_epoch) for a in answers] == [(0, 0, 0), (0, 1, 0), (0, 2, 0)]
        resuming = InitProducerIdRequest(transactional_id=None, producer_id=1, producer_epoch=5)
        assert (await broker.ask(version, resuming)).producer_id == 3


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (InitProducerIdRequest(transactional_id=None, producer_id=5, producer_epoch=-1), 42),
        (InitProducerIdRequest(transactional_id=None, producer_id=-1, producer_epoch=2), 42),
        (InitProducerIdRequest(transactional_id="", transaction_timeout_ms=1000), 42),
        (InitProducerIdRequest(transactional_id="t", transaction_timeout_ms=0), 50),
        (InitProducerIdRequest(transactional_id="t", transaction_timeout_ms=100_000_000), 50),
    ],
)
async def test_what_gets_no_id(request_: InitProducerIdRequest, code: int) -> None:
    async with an_admin_broker() as broker:
        answer = await broker.ask(5, request_)
        assert (answer.error_code, answer.producer_id, answer.producer_epoch) == (code, -1, -1)


async def test_a_store_without_an_answer_is_worth_another_try() -> None:
    async with an_admin_broker() as broker:

        async def no_block() -> range:
            raise KafkaError(ErrorCode.REQUEST_TIMED_OUT)

        broker.services.producer_ids._allocate_block = no_block
        answer = await broker.ask(5, InitProducerIdRequest(transactional_id=None))
        assert error_code(answer.error_code).retriable


@pytest.mark.parametrize(("key_type", "topic"), [(0, "__consumer_offsets"), (1, "__transaction_state")])
class TestWhereAKeyIsCoordinated:
    """At the leader of the partition that its id hashes to: of groups, and of transactions."""

    @pytest.fixture
    def broker(self) -> OneBroker:
        broker = OneBroker()
        self.created: list[str] = []
        create = SimpleNamespace(auto_create_topics=lambda names, config: self.created.extend(names))
        broker.services.controller = cast(Any, create)
        return broker

    def ask(self, broker: OneBroker, version: int, request: FindCoordinatorRequest) -> FindCoordinatorResponse:
        return handle_find_coordinator(broker.services, broker.context(ApiKey.FIND_COORDINATOR, version), request)

    def test_the_topic_is_made_when_it_is_first_needed(self, broker: OneBroker, key_type: int, topic: str) -> None:
        answer = self.ask(broker, 3, FindCoordinatorRequest(key="g", key_type=key_type))
        assert (answer.error_code, answer.node_id, answer.host, answer.port) == (15, -1, "", -1)
        assert self.created == [topic]

    def test_the_leader_of_its_partition_is_told(self, broker: OneBroker, key_type: int, topic: str) -> None:
        broker.show_topics(topic_image(topic, partitions=50))
        answer = self.ask(broker, 3, FindCoordinatorRequest(key="g", key_type=key_type))
        assert (answer.error_code, answer.node_id, answer.host, answer.port) == (0, 1, "host1", 9091)

    @pytest.mark.parametrize("version", [4, 5, 6])
    def test_many_are_asked_for_at_once(self, broker: OneBroker, version: int, key_type: int, topic: str) -> None:
        request = FindCoordinatorRequest(coordinator_keys=["g", "h"], key_type=key_type)
        found = self.ask(broker, version, request).coordinators
        assert [(c.key, c.error_code, c.node_id, c.port) for c in found] == [("g", 15, -1, -1), ("h", 15, -1, -1)]
        broker.show_topics(topic_image(topic, partitions=50))
        found = self.ask(broker, version, request).coordinators
        assert [(c.key, c.error_code, c.node_id) for c in found] == [("g", 0, 1), ("h", 0, 1)]
        assert self.ask(broker, version, FindCoordinatorRequest(key_type=key_type)).coordinators == []

    def test_one_without_a_leader_is_not_available(self, broker: OneBroker, key_type: int, topic: str) -> None:
        broker.show_topics(topic_image(topic, partitions=50, leader=-1))
        assert self.ask(broker, 3, FindCoordinatorRequest(key="g", key_type=key_type)).error_code == 15


async def test_keys_that_mean_nothing_are_refused() -> None:
    async with an_admin_broker() as broker:
        assert (await broker.ask(3, FindCoordinatorRequest(key="g", key_type=7))).error_code == 42
        for version, key_type, key, code in (
            (4, 9, "a", 42),
            (6, 2, "a", 42),
            (5, 2, "g:t:0", 42),
            (6, 2, "g:t:0", 15),
        ):
            request = FindCoordinatorRequest(key_type=key_type, coordinator_keys=[key])
            [coordinator] = (await broker.ask(version, request)).coordinators
            assert coordinator.error_code == code
