"""The command group, run as users run it, against a broker process and members of confluent-kafka."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.cli import Run, refused
from tests.support.group_members import PARTITIONS, RECORDS, Member, filled_topic, until
from tests.support.sdk import a_name

PER_PARTITION = RECORDS // PARTITIONS


@pytest.fixture(scope="module")
def topic(bootstrap: str) -> str:
    return filled_topic(bootstrap)


@pytest.fixture
def moved(pybroker: Run, topic: str) -> str:
    """A group that nobody is in, at offset 10 of every partition."""
    name = a_name("group")
    assert pybroker("group", "seek", name, topic, "--to", "10", "--execute").code == 0
    return name


@pytest.fixture
def consumed(bootstrap: str, topic: str) -> Iterator[tuple[str, Member]]:
    """A group with one member that has read everything."""
    name = a_name("group")
    member = Member(bootstrap, topic, name, **{"client.id": "reader"})
    until(lambda: len(member.seen) == RECORDS, [member])
    yield name, member
    member.leave()


def test_a_group_with_a_member(pybroker: Run, topic: str, consumed: tuple[str, Member]) -> None:
    group, _ = consumed
    assert [group, "classic", "Stable", "consumer", "1"] in pybroker("group", "list").rows
    assert group not in pybroker("group", "list", "--state", "empty").out
    assert group not in pybroker("group", "list", "--kind", "consumer").out
    heading, only = pybroker("group", "describe", group).rows
    assert heading == [
        "GROUP", "KIND", "STATE", "ASSIGNOR", "EPOCH", "MEMBER", "INSTANCE", "CLIENT", "HOST", "READS",
    ]  # fmt: skip
    assert [*only[:5], *only[6:]] == [
        group, "classic", "Stable", "range", "-", "-", "reader", "127.0.0.1", f"{topic}:0-5",
    ]  # fmt: skip
    described = json.loads(pybroker("group", "describe", group, "-o", "json").out)[0]
    assert described["members"][0]["topics"] == [topic]
    assert len(described["members"][0]["reads"]) == PARTITIONS
    rows = pybroker("group", "lag", group).rows
    assert rows[0] == ["GROUP", "TOPIC", "PARTITION", "OFFSET", "END OFFSET", "LAG", "MEMBER", "CLIENT"]
    assert [[*row[:6], row[7]] for row in rows[1:]] == [
        [group, topic, str(index), "50", "50", "0", "reader"] for index in range(PARTITIONS)
    ]
    held = pybroker("group", "seek", group, "--to", "start")
    assert held.code == 0
    assert "nothing was changed: --execute does it; the group has 1 member, to be stopped first" in held.err
    refused(pybroker("group", "seek", group, "--to", "start", "-x"), 1, "it has 1 member", "stop its consumers first")
    refused(pybroker("group", "delete", group, "-y"), 1, "still has members", "stop its consumers first")
    refused(pybroker("group", "delete", group, "-y", "-t", topic), 1, "its consumers read that topic")
    assert [row[5] for row in pybroker("group", "lag", group).rows[1:]] == ["0"] * PARTITIONS


@pytest.mark.parametrize(
    ("arguments", "after", "effect"),
    [
        (["--to", "start"], 0, "repeats 10"),
        (["--to", "end"], PER_PARTITION, "skips 40"),
        (["--to", "10"], 10, "stays"),
        (["--to", "-5"], 45, "skips 35"),
        (["--to", "+5"], 5, "repeats 5"),
        (["--to", "1h"], 0, "repeats 10"),
        (["--to", "@-1h"], 0, "repeats 10"),
        (["--to", "2030-01-01"], PER_PARTITION, "skips 40"),
        (["--to", "9999"], PER_PARTITION, "skips 40"),
        (["--by", "-3"], 7, "repeats 3"),
        (["--by", "3"], 13, "skips 3"),
        (["--by", "-99"], 0, "repeats 10"),
    ],
)
def test_seek_shows_before_and_after_and_does_it_when_told(
    pybroker: Run, topic: str, moved: str, arguments: list[str], after: int, effect: str
) -> None:
    plan = pybroker("group", "seek", moved, *arguments)
    assert plan.err == "nothing was changed: --execute does it\n"
    assert plan.rows[0] == ["GROUP", "TOPIC", "PARTITION", "BEFORE", "AFTER", "EFFECT"]
    assert plan.rows[1:] == [[moved, topic, str(p), "10", str(after), effect] for p in range(PARTITIONS)]
    assert {row[3] for row in pybroker("group", "lag", moved).rows[1:]} == {"10"}
    done = pybroker("group", "seek", moved, *arguments, "--execute")
    assert (done.out, done.err) == (plan.out, "")
    assert {row[3] for row in pybroker("group", "lag", moved).rows[1:]} == {str(after)}


def test_seek_some_partitions_like_another_group_and_from_a_file(
    pybroker: Run, topic: str, moved: str, tmp_path: Path
) -> None:
    pybroker("group", "seek", moved, f"{topic}:0,2-3", "--to", "end", "-x")
    assert [row[3] for row in pybroker("group", "lag", moved).rows[1:]] == ["50", "10", "50", "50", "10", "10"]
    other = a_name("group")
    done = pybroker("group", "seek", other, "--like", moved, "-x", "-o", "json")
    assert json.loads(done.out)[1] == {
        "group": other, "topic": topic, "partition": 1, "before": None, "after": 10, "effect": "starts there",
    }  # fmt: skip
    path = tmp_path / "offsets.csv"
    path.write_text(f'"{topic}",0,7\n\n{topic},5,8\n')
    pybroker("group", "seek", other, "--from-file", path, "-x")
    assert [row[3] for row in pybroker("group", "lag", other).rows[1:]] == ["7", "10", "50", "50", "10", "8"]
    path.write_text("t,0\n")
    refused(pybroker("group", "seek", other, "--from-file", path), 2, "line 1 is not TOPIC,PARTITION,OFFSET")


def test_lag_is_watched(pybroker: Run, moved: str) -> None:
    done = pybroker("group", "lag", moved, "--watch", "-n", "2", "-i", "0.05", "-o", "json")
    first, second = (json.loads(line) for line in done.out.splitlines())
    assert (first[0]["lag"], first[0]["per_s"]) == (40, None)
    assert (second[0]["lag"], second[0]["per_s"], second[0]["time_left"]) == (40, 0, None)
    everything = pybroker("group", "lag").rows
    assert [moved, "40"] in [[row[0], row[5]] for row in everything]


def test_consume_as_a_member_goes_on_where_the_group_is(pybroker: Run, topic: str) -> None:
    group = a_name("group")
    first = pybroker("consume", topic, "-g", group, "-o", "start", "-n", "100")
    assert pybroker("group", "describe", group).rows[1][2] == "Empty", "it has left"
    rest = pybroker("consume", topic, "-g", group, "-n", "200", "-f", r"%v\n")
    values = first.out.splitlines() + rest.out.splitlines()
    assert sorted(values) == sorted(str(number) for number in range(RECORDS))
    assert {row[5] for row in pybroker("group", "lag", group).rows[1:]} == {"0"}
    refused(pybroker("consume", topic, "-g", group, "-p", "0"), 2, "share whole topics")
    refused(pybroker("consume", topic, "-g", group, "-o", "-5"), 2, "`pybroker group seek` moves a group")
    refused(pybroker("consume", "no-such-topic", "-g", group), 4, "there is no topic")


def test_delete(pybroker: Run, topic: str, moved: str) -> None:
    plan = pybroker("group", "delete", moved, stdin=b"n\n")
    assert f"{moved}: {topic}:0-5" in plan.err
    assert plan.code != 0
    assert pybroker("group", "describe", moved).code == 0, "nothing was confirmed"
    assert pybroker("group", "delete", moved, "-t", topic, stdin=b"y\n").out == f"deleted offsets of group {moved}\n"
    assert moved not in pybroker("group", "lag").out
    pybroker("group", "seek", moved, topic, "--to", "start", "-x")
    assert pybroker("group", "delete", moved, stdin=b"y\n").out == f"deleted group {moved}\n"
    refused(pybroker("group", "describe", moved), 4, f"there is no group {moved}", "`pybroker group list` shows them")


def test_config(pybroker: Run) -> None:
    group = a_name("group")
    assert pybroker("group", "config", group).rows == [["KEY", "VALUE", "SOURCE"]]
    key = "consumer.session.timeout.ms"
    assert pybroker("group", "config", group, "-s", f"{key}=50000").rows[1:] == [[key, "50000", "group"]]
    assert pybroker("group", "config", group, "-d", key).rows[1:] == [[key, "45000", "default"]]
    assert [key, "45000", "default"] in pybroker("group", "config", group, "--all").rows
    refused(pybroker("group", "config", group, "-s", f"{key}=1"), 1, "group.consumer.min.session.timeout.ms")
    refused(pybroker("group", "config", group, "-s", "consumer.sesion.timeout.ms=1"), 1, f"did you mean {key}?")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["describe"], 2, "Missing argument"),
        (["describe", "nobody"], 4, "there is no group nobody"),
        (["lag", "nobody"], 4, "`pybroker group list` shows them"),
        (["delete", "nobody", "-y"], 4, "there is no group nobody"),
        (["seek", "nobody", "--to", "start"], 2, "name topics: pybroker group seek nobody TOPIC"),
        (["seek", "nobody", "no-such-topic", "--to", "start"], 4, "`pybroker topic list` shows them"),
        (["seek", "nobody"], 2, "one of --to, --by, --like and --from-file"),
        (["seek", "nobody", "--to", "start", "--by", "1"], 2, "one of --to, --by, --like and --from-file"),
        (["seek", "nobody", "--to", "yesterday"], 2, "start, end, OFFSET"),
        (["seek", "nobody", "t:x", "--to", "start"], 2, "no partition and no range"),
        (["list", "--state", "sleepy"], 2, "'sleepy' is not one of"),
        (["lag", "-w", "-i", "0"], 2, "not in the range"),
    ],
)
def test_group_refuses_in_words(pybroker: Run, arguments: list[str], code: int, says: str) -> None:
    refused(pybroker("group", *arguments), code, says)
