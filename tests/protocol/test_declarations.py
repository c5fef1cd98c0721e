"""The declarations: their stubs are fresh, and Kafka's definitions agree where a jar is at hand."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from tests.protocol.schema_check import compare, jars_from_environment, read_definitions

import pybroker_protocol.api
from pybroker_protocol import messages
from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.schema import stubs

JARS = jars_from_environment()

HEARTBEAT: dict[str, Any] = {
    "name": "HeartbeatRequest",
    "type": "request",
    "apiKey": 12,
    "listeners": ["broker"],
    "validVersions": "0-4",
    "flexibleVersions": "4+",
    "fields": [
        {"name": "GroupId", "type": "string", "versions": "0+"},
        {"name": "GenerationId", "type": "int32", "versions": "0+"},
        {"name": "MemberId", "type": "string", "versions": "0+"},
        {
            "name": "GroupInstanceId",
            "type": "string",
            "versions": "3+",
            "nullableVersions": "3+",
            "default": "null",
        },
    ],
}


def test_the_stubs_are_fresh() -> None:
    assert stubs.STUB_PATH.read_text() == stubs.stub_text(), "run python -m pybroker_protocol.schema.stubs"
    assert stubs.main(["--check"]) == 0


def test_stale_stubs_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stale = tmp_path / "messages.pyi"
    monkeypatch.setattr(stubs, "STUB_PATH", stale)
    assert stubs.main(["--check"]) == 1
    assert stubs.main([]) == 0
    assert stubs.main(["--check"]) == 0
    stale.write_text(stale.read_text() + "\n")
    assert stubs.main(["--check"]) == 1


def test_every_api_key_has_a_file_of_its_name_and_every_file_a_key() -> None:
    folder = Path(next(iter(pybroker_protocol.api.__path__)))
    assert {path.stem for path in folder.glob("*.py")} - {"__init__"} == {key.name.lower() for key in ApiKey}


@pytest.mark.skipif(not JARS, reason="KAFKA_CLIENTS_JAR is not set")
def test_kafka_declares_the_same() -> None:
    definitions = read_definitions(JARS)
    assert len(definitions) > 150
    assert list(compare(definitions)) == []


def test_a_definition_that_agrees_gives_no_difference() -> None:
    assert list(compare({"HeartbeatRequest": HEARTBEAT})) == []


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["apiKey"], 13, "key 12, Kafka 13"),
        (["validVersions"], "0-5", "versions"),
        (["flexibleVersions"], "3+", "flexible"),
        (["fields", 0, "name"], "GroupName", "fields"),
        (["fields", 1, "type"], "int64", "type int32, Kafka int64"),
        (["fields", 1, "versions"], "1+", "versions"),
        (["fields", 1, "default"], "-1", "default 0, Kafka -1"),
        (["fields", 2, "nullableVersions"], "0+", "nullable"),
        (["fields", 3, "default"], "", "default None, Kafka "),
        (["fields", 3, "tag"], 0, "tag None, Kafka 0"),
        (["fields", 3, "taggedVersions"], "4+", "tagged"),
    ],
)
def test_every_kind_of_difference_is_found(path: list[Any], value: object, message: str) -> None:
    changed = copy.deepcopy(HEARTBEAT)
    place: Any = changed
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    assert any(message in line for line in compare({"HeartbeatRequest": changed}))


def test_a_broker_api_that_is_not_declared_is_a_difference() -> None:
    new = HEARTBEAT | {"name": "NovelRequest", "apiKey": 999}
    assert list(compare({"NovelRequest": new})) == ["NovelRequest: not declared"]
    for exempt in ({"listeners": ["controller"]}, {"validVersions": "none"}):
        assert list(compare({"NovelRequest": new | exempt})) == []


def test_a_version_that_is_still_unstable_is_not_expected() -> None:
    unstable = HEARTBEAT | {"validVersions": "0-5", "latestVersionUnstable": True}
    assert list(compare({"HeartbeatRequest": unstable})) == []


def test_names_are_unique() -> None:
    names = messages.message_names()
    assert len(names) == len(set(names)) > 200
