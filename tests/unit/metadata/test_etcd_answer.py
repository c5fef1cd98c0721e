"""How errors of etcd are read, which each of its releases spells in its own way."""

from __future__ import annotations

from typing import Any

import pytest

from pybroker_server.metadata.etcd_answer import EtcdRefusedError, MemberFailedError, unrefused

HEADER = {"cluster_id": "1", "revision": "7"}
UNAVAILABLE = "etcdserver: leader changed"
NOT_FOUND = "etcdserver: requested lease not found"


def refusal(answer: dict[str, Any], status: int) -> EtcdRefusedError:
    with pytest.raises(EtcdRefusedError) as refused:
        unrefused("http://m1:2379", answer, status)
    return refused.value


def test_an_answer_is_handed_on() -> None:
    for answer in ({"header": HEADER, "succeeded": True}, {"result": {"header": HEADER}}):
        assert unrefused("http://m1:2379", answer, 200) is answer


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        pytest.param({"error": UNAVAILABLE, "message": UNAVAILABLE, "code": 14}, 503, id="3.4 and 3.5"),
        pytest.param({"code": 14, "message": UNAVAILABLE, "details": []}, 503, id="3.6"),
        pytest.param(
            {"error": {"grpc_code": 14, "http_code": 503, "message": UNAVAILABLE, "http_status": "x"}},
            200,
            id="stream of 3.4 and 3.5",
        ),
        pytest.param({"error": {"code": 14, "message": UNAVAILABLE, "details": []}}, 200, id="stream of 3.6"),
    ],
)
def test_trouble_of_a_member_leaves_the_outcome_open(answer: dict[str, Any], status: int) -> None:
    found = refusal(answer, status)
    assert (found.reason, found.is_trouble) == (UNAVAILABLE, True)
    assert str(found) == "etcd at http://m1:2379 refused: leader changed"


def test_a_refusal_is_no_trouble() -> None:
    found = refusal({"error": NOT_FOUND, "message": NOT_FOUND, "code": 5}, 404)
    assert (found.reason, found.is_trouble, found.is_stale_token) == (NOT_FOUND, False, False)


def test_an_error_without_a_code_comes_from_something_in_between() -> None:
    assert refusal({"message": "no upstream"}, 503).is_trouble
    assert refusal({}, 500).reason == "HTTP status 500"


@pytest.mark.parametrize("reason", ["etcdserver: invalid auth token", "etcdserver: revision of auth store is old"])
def test_stale_tokens_are_known_by_their_words(reason: str) -> None:
    assert refusal({"error": reason, "message": reason, "code": 16}, 401).is_stale_token


@pytest.mark.parametrize("answer", [[], "text", 1, None])
def test_what_is_no_object_is_none_of_etcds(answer: Any) -> None:
    with pytest.raises(MemberFailedError, match="none of etcd's"):
        unrefused("http://m1:2379", answer, 200)
