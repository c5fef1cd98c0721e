"""The view of a cluster after answers that are late, out of order, or about another topic of the same name."""

from __future__ import annotations

from uuid import UUID

from pybroker.metadata import NO_LEADER, Broker, ClusterView, TopicPartition
from pybroker_protocol.errors import ErrorCode
from pybroker_protocol.messages import MetadataResponse

ONE, TWO = UUID(int=1), UUID(int=2)
TP = TopicPartition("t", 0)


def partition(index: int, leader: int, epoch: int) -> MetadataResponse.MetadataResponsePartition:
    return MetadataResponse.MetadataResponsePartition(
        partition_index=index, leader_id=leader, leader_epoch=epoch, replica_nodes=[1, 2], isr_nodes=[leader]
    )


def answer(
    *partitions: MetadataResponse.MetadataResponsePartition,
    topic_id: UUID = ONE,
    error: int = 0,
    brokers: tuple[int, ...] = (1, 2),
) -> MetadataResponse:
    return MetadataResponse(
        brokers=[MetadataResponse.MetadataResponseBroker(node_id=n, host="h", port=9000 + n) for n in brokers],
        cluster_id="c",
        controller_id=1,
        topics=[
            MetadataResponse.MetadataResponseTopic(
                name="t", topic_id=topic_id, error_code=error, partitions=list(partitions)
            )
        ],
    )


def test_leaders_are_known_when_their_address_is() -> None:
    view = ClusterView().updated(answer(partition(1, 3, 0), partition(0, 2, 0)))
    assert [view.leader(TopicPartition("t", index)) for index in range(3)] == [2, NO_LEADER, NO_LEADER]
    assert (view.cluster_id, view.controller_id, view.brokers[2]) == ("c", 1, Broker(2, "h", 9002))
    assert view.topic_name(ONE) == "t"


def test_leader_epochs_never_go_back() -> None:
    view = ClusterView().updated(answer(partition(0, 2, 5)))
    assert view.updated(answer(partition(0, 1, 4))).leader(TP) == 2
    assert view.updated(answer(partition(0, 1, 6))).leader(TP) == 1
    assert view.with_leader(TP, 1, 5) is view


def test_another_topic_of_the_same_name_starts_anew() -> None:
    view = ClusterView().updated(answer(partition(0, 2, 5)))
    assert view.updated(answer(partition(0, 1, 0), topic_id=TWO)).leader(TP) == 1


def test_a_leader_that_a_broker_named_is_taken_over_with_its_address() -> None:
    view = ClusterView().updated(answer(partition(0, 2, 5)))
    assert view.with_leader(TP, 9, 6) is view, "nobody knows where 9 is"
    moved = view.with_leader(TP, 9, 6, [Broker(9, "new", 1)])
    assert (moved.leader(TP), moved.brokers[9].address) == (9, "new:1")
    assert view.leader(TP) == 2


def test_a_topic_in_trouble_keeps_its_shape_and_one_that_is_gone_does_not() -> None:
    view = ClusterView().updated(answer(partition(0, 2, 5)))
    troubled = view.updated(answer(error=ErrorCode.LEADER_NOT_AVAILABLE)).topic("t")
    assert troubled is not None
    assert (len(troubled.partitions), troubled.exists) == (1, False)
    gone = view.updated(answer(error=ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)).topic("t")
    assert gone is not None
    assert (gone.partitions, gone.error) == ((), ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)


def test_only_a_complete_answer_takes_topics_away() -> None:
    view = ClusterView().updated(answer(partition(0, 2, 5)))
    nothing = MetadataResponse(brokers=[], cluster_id="c", controller_id=1, topics=[])
    assert view.updated(nothing).topic("t") is not None
    assert view.updated(nothing, is_complete=True).topic("t") is None
    assert view.without_topics(["t", "x"]).topic("t") is None
