"""The two halves of a fetch session agree on what is fetched, whatever comes, goes and is forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from pybroker_protocol.errors import ErrorCode
from pybroker_protocol.messages import FetchRequest, FetchResponse
from pybroker_server.replica.fetch_session import FetchSessionCache, SessionKind
from pybroker_server.replica.follower_session import FollowerSession, Key, grouped_forgotten, grouped_topics

KEYS: Sequence[Key] = [(topic, index) for topic in (1, 2) for index in (0, 1, 2)]
STEPS = st.lists(
    st.tuples(st.sampled_from(["note", "forget", "ask", "ask", "restart", "lose"]), st.sampled_from(KEYS)), max_size=60
)


class Leader:
    def __init__(self, slots: int) -> None:
        self.ids = count(1)
        self.slots = slots
        self.restart()

    def restart(self) -> None:
        """All sessions are gone."""
        self.cache = FetchSessionCache(self.slots, 0, self.ids.__next__)

    def answer(self, request: FetchRequest) -> tuple[FetchResponse, set[Key]]:
        """The answer, and what was read for it."""
        context = self.cache.begin(request, 18, 0, is_follower=True)
        if context.error is not ErrorCode.NONE:
            return FetchResponse(error_code=context.error), set()
        if context.partitions is not None:
            assert context.session is not None
            read = {(entry.topic_id.int, entry.partition) for entry in context.partitions}
            return FetchResponse(session_id=context.session.session_id), read
        asked = [(topic, partition) for topic in request.topics for partition in topic.partitions]
        read = {(topic.topic_id.int, partition.partition) for topic, partition in asked}
        response = FetchResponse()
        if context.kind is SessionKind.NEW:
            results = [(t, p, FetchResponse.PartitionData(partition_index=p.partition)) for t, p in asked]
            response.session_id = self.cache.finish_full(context, results, len(results), 0)
        return response, read


def request_of(session: FollowerSession) -> FetchRequest:
    session_id, epoch, named, forgotten = session.next_request()
    return FetchRequest(
        session_id=session_id,
        session_epoch=epoch,
        topics=grouped_topics((key, FetchRequest.FetchPartition(partition=key[1])) for key in named),
        forgotten_topics_data=grouped_forgotten(forgotten),
    )


@given(steps=STEPS, slots=st.sampled_from([0, 1]))
def test_every_answer_is_about_what_is_followed_and_about_all_of_it(steps: list[tuple[str, Key]], slots: int) -> None:
    leader, session = Leader(slots), FollowerSession()
    wanted: set[Key] = set()
    for step, key in steps:
        match step:
            case "note":
                session.note(key)
                wanted.add(key)
            case "forget":
                session.forget(key)
                wanted.discard(key)
            case "restart":
                leader.restart()
            case "lose":
                if not session.is_empty:
                    leader.answer(request_of(session))  # its answer does not come
                    session.reset()
            case _:
                assert session.is_empty == (not wanted)
                if session.is_empty:
                    continue
                response, read = leader.answer(request_of(session))
                if response.error_code:
                    session.reset()
                    response, read = leader.answer(request_of(session))
                assert response.error_code == 0, "a new session is always possible"
                session.on_response(response)
                assert read == wanted
                assert not session.has_news
    assert session.keys() == wanted


def test_what_changed_is_named_and_nothing_else() -> None:
    leader, session = Leader(1), FollowerSession()
    for key in KEYS:
        session.note(key)
    session.on_response(leader.answer(request_of(session))[0])
    session.note(KEYS[2])
    session.forget(KEYS[0])
    request = request_of(session)
    assert [(t.topic_id.int, [p.partition for p in t.partitions]) for t in request.topics] == [(1, [2])]
    assert [(t.topic_id.int, t.partitions) for t in request.forgotten_topics_data] == [(1, [0])]
