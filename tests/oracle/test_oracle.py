"""Every exchange of the catalogue against pybroker, field by field against what Kafka 4.3 answered. No Java needed."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from tests.oracle import store
from tests.oracle.catalogue import PARTS
from tests.oracle.compare import differences
from tests.oracle.exchange import Exchange
from tests.oracle.meant import MEANT, Meant, unmeant
from tests.oracle.runner import Player

EXCHANGES = [(part, exchange) for part, exchanges in PARTS.items() for exchange in exchanges]


@cache
def _recorded(part: str) -> dict[str, Any]:
    return store.load(part)


@pytest.mark.parametrize("part", PARTS)
def test_every_exchange_was_recorded_and_nothing_else(part: str) -> None:
    assert list(_recorded(part)) == [exchange.name for exchange in PARTS[part]]


@pytest.mark.parametrize(
    ("part", "exchange"), [pytest.param(part, exchange, id=exchange.name) for part, exchange in EXCHANGES]
)
def test_answers_are_those_of_kafka(part: str, exchange: Exchange, player: Player, used_entries: set[Meant]) -> None:
    found = differences(_recorded(part)[exchange.name], player.play(exchange))
    left = unmeant(exchange.name, found, used_entries)
    assert not left, "\n" + "\n".join(str(difference) for difference in left)


def test_every_meant_difference_is_one(request: pytest.FixtureRequest, used_entries: set[Meant]) -> None:
    played = [item for item in request.session.items if item.name.startswith("test_answers_are_those_of_kafka[")]
    if len(played) < len(EXCHANGES):
        pytest.skip("only a part of the catalogue was played")
    assert not [entry for entry in MEANT if entry not in used_entries]
