"""The catalogue of three brokers against three brokers of ours, field by field against what Kafka 4.3 answered."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from tests.oracle import store
from tests.oracle.cluster import PARTS, ClusterPlayer
from tests.oracle.compare import differences
from tests.oracle.exchange import Exchange
from tests.oracle.meant import CLUSTER_MEANT, Meant, unmeant
from tests.oracle.record import CLUSTER_SETTINGS
from tests.support.broker_cluster import broker_cluster

EXCHANGES = [(part, exchange) for part, exchanges in PARTS.items() for exchange in exchanges]


@pytest.fixture(scope="module")
def cluster_player(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterPlayer]:
    with broker_cluster(tmp_path_factory.mktemp("oracle-cluster"), 3, CLUSTER_SETTINGS) as cluster:
        cluster.wait_for_nodes(1, 2, 3)
        yield ClusterPlayer(cluster.brokers[1].bootstrap)


@pytest.fixture(scope="module")
def used_in_cluster() -> set[Meant]:
    """The entries of `CLUSTER_MEANT` that an exchange has needed so far."""
    return set()


@cache
def _recorded(part: str) -> dict[str, Any]:
    return store.load(part)


@pytest.mark.parametrize("part", PARTS)
def test_every_exchange_was_recorded_and_nothing_else(part: str) -> None:
    assert list(_recorded(part)) == [exchange.name for exchange in PARTS[part]]


@pytest.mark.parametrize(
    ("part", "exchange"), [pytest.param(part, exchange, id=exchange.name) for part, exchange in EXCHANGES]
)
def test_answers_are_those_of_a_kafka_cluster(
    part: str, exchange: Exchange, cluster_player: ClusterPlayer, used_in_cluster: set[Meant]
) -> None:
    found = differences(_recorded(part)[exchange.name], cluster_player.play(exchange))
    left = unmeant(exchange.name, found, used_in_cluster, meant=CLUSTER_MEANT)
    assert not left, "\n" + "\n".join(str(difference) for difference in left)


def test_every_meant_difference_is_one(request: pytest.FixtureRequest, used_in_cluster: set[Meant]) -> None:
    name = "test_answers_are_those_of_a_kafka_cluster["
    played = [item for item in request.session.items if item.name.startswith(name)]
    if len(played) < len(EXCHANGES):
        pytest.skip("only a part of the catalogue was played")
    assert not [entry for entry in CLUSTER_MEANT if entry not in used_in_cluster]
