"""Produce in a transaction: when its coordinator is asked, and what becomes of the write while and after it is."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.held_consent import HeldConsent
from tests.support.one_broker import Answer, OneBroker, batch, topic_image

from pybroker_protocol.errors import ErrorCode
from pybroker_protocol.messages import ProduceRequest
from pybroker_protocol.records.control import ControlType, build_end_transaction_marker
from pybroker_server.handlers.produce import handle_produce
from pybroker_server.handlers.request import NO_RESPONSE, CloseConnection
from pybroker_server.log.validator import AppendOrigin

Topic = ProduceRequest.TopicProduceData
Data = ProduceRequest.PartitionProduceData

PRODUCER = 7
CHECKED, CHECKED_ABORTABLE, ADDED = 9, 11, 12
"""Versions of Produce, by how they take part."""


@pytest.fixture
def broker() -> OneBroker:
    made = OneBroker()
    made.show_topics(topic_image("t", 2))
    return made


@pytest.fixture
def consent(broker: OneBroker) -> HeldConsent:
    return HeldConsent(broker)


def write(
    broker: OneBroker, sequence: int = 0, *, partition: int = 0, epoch: int = 0, version: int = ADDED, acks: int = 1
) -> Answer:
    records = batch(b"v", producer=(PRODUCER, epoch, sequence), transactional=True)
    topics = [Topic(name="t", partition_data=[Data(index=partition, records=records)])]
    request = ProduceRequest(acks=acks, timeout_ms=1_000, topic_data=topics, transactional_id="x")
    return Answer(handle_produce(broker.services, broker.context(0, version), request))


def only(answer: Answer) -> Any:
    ((result,),) = [topic.partition_responses for topic in answer.response.responses]
    return result


def end(broker: OneBroker, *, epoch: int = 0) -> None:
    marker = build_end_transaction_marker(
        ControlType.ABORT, timestamp=1, producer_id=PRODUCER, producer_epoch=epoch, coordinator_epoch=0
    )
    broker.partition().append(memoryview(marker), -1, 0, 0, AppendOrigin.MARKER)


@pytest.mark.parametrize("version", [CHECKED, CHECKED_ABORTABLE, ADDED])
def test_the_first_write_waits_for_the_coordinator_and_the_next_does_not(
    broker: OneBroker, consent: HeldConsent, version: int
) -> None:
    first = write(broker, version=version)
    assert first.is_waiting
    assert first.pending is not None
    assert first.pending.is_ordered, "nothing of the connection may overtake it"
    [question] = consent.asked
    assert question[:5] == (version == ADDED, "x", PRODUCER, 0, (("t", 0),))
    question.answer()
    assert (only(first).error_code, only(first).base_offset) == (0, 0)
    assert only(write(broker, 1, version=version)).base_offset == 1
    assert len(consent.asked) == 1


def test_each_partition_is_asked_for(broker: OneBroker, consent: HeldConsent) -> None:
    write(broker)
    consent.asked.pop().answer()
    write(broker, partition=1)
    assert [question.partitions for question in consent.asked] == [(("t", 1),)]


@pytest.mark.parametrize(
    ("version", "told", "code"),
    [
        (CHECKED, ErrorCode.TRANSACTION_ABORTABLE, ErrorCode.INVALID_TXN_STATE),
        (CHECKED_ABORTABLE, ErrorCode.TRANSACTION_ABORTABLE, ErrorCode.TRANSACTION_ABORTABLE),
        (CHECKED, ErrorCode.PRODUCER_FENCED, ErrorCode.INVALID_PRODUCER_EPOCH),
        (ADDED, ErrorCode.PRODUCER_FENCED, ErrorCode.INVALID_PRODUCER_EPOCH),
        (ADDED, ErrorCode.INVALID_PRODUCER_ID_MAPPING, ErrorCode.INVALID_PRODUCER_ID_MAPPING),
        (CHECKED, ErrorCode.CONCURRENT_TRANSACTIONS, ErrorCode.NOT_ENOUGH_REPLICAS),
        (ADDED, ErrorCode.NOT_COORDINATOR, ErrorCode.NOT_ENOUGH_REPLICAS),
        (ADDED, ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, ErrorCode.NOT_ENOUGH_REPLICAS),
    ],
)
def test_a_refusal_is_told_in_words_that_the_client_knows(
    broker: OneBroker, consent: HeldConsent, version: int, told: ErrorCode, code: ErrorCode
) -> None:
    answer = write(broker, version=version)
    consent.asked.pop().answer(told)
    assert only(answer).error_code == code
    assert broker.log().log_end_offset == 0


def test_a_consent_that_comes_after_the_end_of_the_transaction_is_worth_nothing(
    broker: OneBroker, consent: HeldConsent
) -> None:
    answer = write(broker, version=CHECKED)
    end(broker)
    consent.asked.pop().answer()
    assert only(answer).error_code == ErrorCode.INVALID_TXN_STATE
    assert broker.log().log_end_offset == 1
    assert broker.log().producer_state.first_undecided_offset is None


def test_while_the_last_transaction_ends_it_is_asked_again_for_a_moment(
    broker: OneBroker, consent: HeldConsent
) -> None:
    answer = write(broker)
    for _ in range(5):
        consent.asked.pop().answer(ErrorCode.CONCURRENT_TRANSACTIONS)
        assert answer.is_waiting
        assert not consent.asked
        broker.time.advance_ms(20)
    consent.asked.pop().answer(ErrorCode.CONCURRENT_TRANSACTIONS)
    assert only(answer).error_code == ErrorCode.NOT_ENOUGH_REPLICAS


def test_acks_all_waits_on_once_it_is_written(broker: OneBroker, consent: HeldConsent) -> None:
    answer = write(broker, acks=-1)
    consent.asked.pop().answer()
    assert answer.is_waiting
    broker.flush()
    assert only(answer).error_code == 0


def test_a_connection_that_closed_meanwhile_leaves_nothing_waiting(broker: OneBroker, consent: HeldConsent) -> None:
    for before in (True, False):
        answer = write(broker, 0 if before else 1, acks=-1)
        assert answer.pending is not None
        if before:
            answer.pending.abandon()
            consent.asked.pop().answer()
        else:
            answer.pending.abandon()
        assert len(broker.manager.purgatory) == 0


def test_acks_0_is_not_answered_and_a_refusal_closes_the_connection(broker: OneBroker, consent: HeldConsent) -> None:
    answer = write(broker, acks=0)
    consent.asked.pop().answer()
    assert answer.response is NO_RESPONSE
    refused = write(broker, partition=1, acks=0)
    consent.asked.pop().answer(ErrorCode.PRODUCER_FENCED)
    assert isinstance(refused.response, CloseConnection)


def test_two_producers_in_one_request_are_refused(broker: OneBroker, consent: HeldConsent) -> None:
    data = [
        Data(index=index, records=batch(b"v", producer=(PRODUCER + index, 0, 0), transactional=True))
        for index in (0, 1)
    ]
    request = ProduceRequest(acks=1, topic_data=[Topic(name="t", partition_data=data)], transactional_id="x")
    response = handle_produce(broker.services, broker.context(0, ADDED), request)
    codes = {result.error_code for topic in response.responses for result in topic.partition_responses}
    assert codes == {ErrorCode.INVALID_PRODUCER_ID_MAPPING}
    assert not consent.asked


def test_without_verification_older_clients_are_not_checked() -> None:
    broker = OneBroker({"transaction.partition.verification.enable": "false"})
    broker.show_topics(topic_image("t"))
    consent = HeldConsent(broker)
    assert only(write(broker, version=CHECKED)).error_code == 0
    assert not consent.asked


class TestOtherBrokers:
    @pytest.fixture
    def consent(self, broker: OneBroker) -> HeldConsent:
        return HeldConsent(broker, leader=2)

    def test_the_coordinator_is_asked_where_it_is(self, broker: OneBroker, consent: HeldConsent) -> None:
        answer = write(broker, version=CHECKED_ABORTABLE)
        [(node_id, request, _)] = consent.sent
        assert node_id == 2
        [transaction] = request.transactions
        assert (transaction.transactional_id, transaction.producer_id, transaction.verify_only) == ("x", PRODUCER, True)
        assert [(topic.name, topic.partitions) for topic in transaction.topics] == [("t", [0])]
        consent.answer_sent()
        assert only(answer).error_code == 0

    def test_what_comes_meanwhile_goes_out_with_the_next_request(self, broker: OneBroker, consent: HeldConsent) -> None:
        first, second = write(broker), write(broker, partition=1)
        assert len(consent.sent) == 1
        consent.answer_sent()
        assert len(consent.sent) == 1
        assert not first.is_waiting
        assert second.is_waiting
        consent.answer_sent()
        assert only(second).error_code == 0
        assert not consent.sent

    def test_one_that_does_not_answer_is_tried_again_by_the_client(
        self, broker: OneBroker, consent: HeldConsent
    ) -> None:
        answer = write(broker)
        consent.lose_sent()
        assert only(answer).error_code == ErrorCode.NOT_ENOUGH_REPLICAS

    def test_one_that_refuses_the_request_as_a_whole(self, broker: OneBroker, consent: HeldConsent) -> None:
        answer = write(broker)
        consent.answer_sent(top=ErrorCode.CLUSTER_AUTHORIZATION_FAILED)
        assert only(answer).error_code == ErrorCode.CLUSTER_AUTHORIZATION_FAILED
