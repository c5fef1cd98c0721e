"""DescribeLogDirs: which replicas lie where."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from tests.support.one_broker import Answer, OneBroker, topic_image

from pybroker_protocol.errors import ErrorCode
from pybroker_protocol.messages import DescribeLogDirsRequest
from pybroker_server.handlers.describe_log_dirs import handle_describe_log_dirs

Topic = DescribeLogDirsRequest.DescribableLogDirTopic


class Disk:
    def __init__(self) -> None:
        self.failure: OSError | None = None

    def total_bytes(self, path: str) -> int:
        if self.failure is not None:
            raise self.failure
        return 1_000

    def free_bytes(self, path: str) -> int:
        return 400


@pytest.fixture
def broker() -> OneBroker:
    made = OneBroker()
    made.show_topics(topic_image("t", 2), topic_image("u"))
    made.append(b"a", index=1)
    made.log("u").directory = "/other/u-0"
    made.services.runtime.disk = Disk()
    return made


def ask(broker: OneBroker, *topics: Any, everything: bool = False) -> Any:
    request = DescribeLogDirsRequest(topics=None if everything else list(topics))
    answer = Answer(handle_describe_log_dirs(broker.services, broker.context(35, 5), request))
    assert answer.is_waiting, "the operating system is asked off the loop"
    broker.blocking.run_all()
    assert answer.response.error_code == 0
    return answer.response


def found(response: Any) -> dict[str, dict[tuple[str, int], int]]:
    return {
        result.log_dir: {(t.name, p.partition_index): p.partition_size for t in result.topics for p in t.partitions}
        for result in response.results
    }


def test_everything(broker: OneBroker) -> None:
    response = ask(broker, everything=True)
    assert found(response) == {"/data": {("t", 0): 0, ("t", 1): 70}, "/other": {("u", 0): 0}}
    assert [(r.error_code, r.total_bytes, r.usable_bytes) for r in response.results] == [(0, 1_000, 400)] * 2
    partitions = [p for r in response.results for t in r.topics for p in t.partitions]
    assert [(p.offset_lag, p.is_future_key) for p in partitions] == [(0, False)] * 3


def test_what_is_asked_for_once_and_nothing_else(broker: OneBroker) -> None:
    asked = [
        Topic(topic="t", partitions=[1, 7, 1]),
        Topic(topic="t", partitions=[1]),
        Topic(topic="nope", partitions=[0]),
    ]
    assert found(ask(broker, *asked)) == {"/data": {("t", 1): 70}, "/other": {}}
    assert found(ask(broker)) == {"/data": {}, "/other": {}}
    assert found(ask(broker, Topic(topic="t", partitions=[]))) == {"/data": {}, "/other": {}}


def test_a_directory_offline_is_listed_with_its_error(broker: OneBroker) -> None:
    broker.logs.directories = [SimpleNamespace(path="/data", is_online=False)]
    (result,) = ask(broker, everything=True).results
    assert (result.error_code, result.topics) == (ErrorCode.KAFKA_STORAGE_ERROR, [])
    assert (result.total_bytes, result.usable_bytes) == (-1, -1)


def test_a_volume_that_says_nothing_of_its_space(broker: OneBroker) -> None:
    broker.services.runtime.disk.failure = OSError(5, "Input/output error")
    response = ask(broker, everything=True)
    assert found(response)["/data"] == {("t", 0): 0, ("t", 1): 70}
    assert {(r.total_bytes, r.usable_bytes) for r in response.results} == {(-1, -1)}
