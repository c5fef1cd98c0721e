"""The bytes that members of a classic group exchange: read by other clients' code, and theirs read by ours."""

from __future__ import annotations

import io
import struct

import pytest
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata

from pybroker import TopicPartition
from pybroker.group.embedded import read_assignment, read_subscription, write_assignment, write_subscription
from pybroker_protocol.errors import ProtocolError

OWNED = [TopicPartition("t", 0), TopicPartition("t", 2), TopicPartition("u", 1)]


def test_a_subscription_comes_back_as_it_was() -> None:
    data = write_subscription({"t", "u"}, owned=OWNED, generation=7, rack="r", is_sticky=True)
    member = read_subscription("m", "i", data)
    assert (member.topics, member.owned, member.generation) == (frozenset({"t", "u"}), tuple(OWNED), 7)
    assert (member.member_id, member.instance_id) == ("m", "i")


def test_the_bytes_of_a_subscription_are_those_of_version_3() -> None:
    data = write_subscription({"t"}, owned=[TopicPartition("t", 1)], generation=4, is_sticky=True)
    assert data == b"".join(
        (
            b"\0\3",
            b"\0\0\0\1" + b"\0\1t",
            b"\0\0\0\4" + b"\0\0\0\4",  # the generation, where older cooperative-sticky leaders look for it
            b"\0\0\0\1" + b"\0\1t" + b"\0\0\0\1" + b"\0\0\0\1",
            b"\0\0\0\4",
            b"\xff\xff",
        )
    )


def test_another_client_reads_our_subscription_and_assignment() -> None:
    theirs = ConsumerProtocolMemberMetadata.decode(io.BytesIO(write_subscription({"t"}, is_sticky=False)))
    assert theirs.subscription == ["t"]
    assignment = ConsumerProtocolMemberAssignment.decode(io.BytesIO(write_assignment(OWNED)))
    assert assignment.assignment == [("t", [0, 2]), ("u", [1])]


def test_we_read_another_clients_subscription_and_assignment() -> None:
    theirs = ConsumerProtocolMemberMetadata(0, ["t"], b"").encode()
    assert read_subscription("m", None, theirs).topics == frozenset({"t"})
    assert read_assignment(ConsumerProtocolMemberAssignment(0, [("t", [0, 2]), ("u", [1])], b"").encode()) == OWNED


def test_the_generation_of_a_version_1_member_is_taken_from_its_user_data() -> None:
    data = b"\0\1" + b"\0\0\0\1\0\1t" + b"\0\0\0\4\0\0\0\x09" + b"\0\0\0\0"
    assert read_subscription("m", None, data).generation == 9


def test_versions_to_come_are_read_as_the_newest_known() -> None:
    data = struct.pack(">h", 9) + write_subscription({"t"})[2:] + b"more"
    assert read_subscription("m", None, data).topics == frozenset({"t"})


@pytest.mark.parametrize("data", [b"", b"\0", b"\xff\xff", b"\0\3\x7f\xff\xff\xff"])
def test_a_member_whose_bytes_make_no_sense_subscribes_to_nothing(data: bytes) -> None:
    assert read_subscription("m", None, data).topics == frozenset()


def test_no_bytes_are_no_partitions_and_damaged_ones_an_error() -> None:
    assert read_assignment(b"") == []
    with pytest.raises(ProtocolError):
        read_assignment(b"\0\0\0\0\0\x09")
