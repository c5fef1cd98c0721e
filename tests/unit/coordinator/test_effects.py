"""Replies and effects: plain values, whose order and pairing the host relies on."""

from __future__ import annotations

import pytest
from tests.support.ledger import entry

from pybroker_protocol.errors import ErrorCode
from pybroker_server.coordinator.effects import Effects, Reply


@pytest.fixture
def effects() -> Effects:
    return Effects(10, 1_000)


def test_a_reply_gives_its_answer_or_its_refusal() -> None:
    given: list[str] = []
    reply = Reply(given.append, lambda code: f"refused: {code.name}")
    reply.complete("yes")
    reply.fail(ErrorCode.NOT_COORDINATOR)
    assert given == ["yes", "refused: NOT_COORDINATOR"]
    assert reply.refusal(ErrorCode.UNKNOWN_MEMBER_ID) == "refused: UNKNOWN_MEMBER_ID"


def test_an_answer_is_only_noted(effects: Effects) -> None:
    given: list[str] = []
    reply = Reply(given.append, lambda code: code.name)
    effects.answer(reply, "yes")
    effects.refuse(reply, ErrorCode.UNKNOWN_MEMBER_ID)
    assert given == []
    assert effects.answers == [(reply, "yes"), (reply, "UNKNOWN_MEMBER_ID")]


def test_records_keep_their_order_and_whether_they_are_replayed(effects: Effects) -> None:
    first, second = entry("a", 1), entry("b", None)
    effects.append(first)
    effects.append(second, replay=False)
    assert effects.records == [(first, True), (second, False)]


def test_they_belong_to_no_transaction_unless_it_is_said(effects: Effects) -> None:
    assert (effects.producer_id, effects.producer_epoch, effects.is_atomic) == (-1, -1, True)
    effects.in_transaction(7, 2)
    assert (effects.producer_id, effects.producer_epoch) == (7, 2)
