"""The commands topic, produce, consume and log dump, run as users run them, against a broker process.

Most run in this process, where anything but a clean exit fails the test; what is about pipes and signals runs in one
of its own.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.support.broker_process import ROOT, BrokerProcess, free_port
from tests.support.cli import Run, refused
from tests.support.sdk import a_name


@pytest.fixture
def topic(pybroker: Run) -> str:
    name = a_name("cli")
    assert pybroker("topic", "create", name) == (0, f"created topic {name}\n", "")
    return name


@pytest.fixture
def filled(pybroker: Run, topic: str) -> str:
    """Ten records: k0:v0 to k9:v9."""
    lines = b"".join(b"k%d:v%d\n" % (number, number) for number in range(10))
    assert pybroker("produce", topic, "-K", ":", "-H", "a=1", stdin=lines).err == f"10 records sent to {topic}\n"
    return topic


def started(bootstrap: str, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
    packages = os.pathsep.join(str(ROOT / name) for name in ("protocol", "client", "broker", "bench"))
    return subprocess.Popen(
        [sys.executable, "-m", "pybroker_server", *arguments, "-b", bootstrap],
        env={**os.environ, "PYTHONPATH": packages},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )


# topic


def test_create_describe_and_list(pybroker: Run) -> None:
    one, two = a_name("cli"), a_name("cli")
    made = pybroker("topic", "create", one, two, "-p", "3", "-c", "retention.ms=60000")
    assert made.out == f"created topic {one}\ncreated topic {two}\n"
    heading, *rows = pybroker("topic", "describe", one).rows
    assert heading == ["TOPIC", "PARTITION", "LEADER", "REPLICAS", "ISR", "LAG", "START OFFSET", "END OFFSET"]
    assert [row[1] for row in rows] == ["0", "1", "2"]
    assert rows[0][5:] == ["-", "0", "0"]
    assert [one, "3", "1", "0"] in pybroker("topic", "list").rows
    listed = json.loads(pybroker("topic", "list", "-o", "json").out)
    assert {"name": two, "partitions": 3, "replicas": 1, "without_leader": 0} in listed
    refused(pybroker("topic", "create", one), 1, f"error: cannot create topic {one}", "--if-not-exists")
    assert pybroker("topic", "create", one, "--if-not-exists").out == f"topic {one} is there already\n"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["create", "a b"], 1, "a name has 1 to 249 of letters"),
        (["create", "t", "-c", "retention.ms"], 2, "'retention.ms' is not KEY=VALUE"),
        (["create", "t", "-c", "retention.ms=soon"], 1, "retention.ms"),
        (["create", "t", "-c", "no.such=1"], 1, "try:"),
        (["create", "t", "-r", "9"], 1, "there cannot be more replicas"),
        (["create", "t", "-p", "0"], 1, "try:"),
        (["create", "t", "-p", "many"], 2, "'many' is not a valid integer"),
        (["create"], 2, "Missing argument"),
        (["describe", "no-such-topic"], 4, "`pybroker topic list` shows them"),
        (["config", "no-such-topic"], 4, "`pybroker topic list` shows them"),
        (["config", "no-such-topic", "-s", "retention.ms=1"], 4, "does not exist"),
        (["grow", "no-such-topic", "3", "-y"], 4, "there is no topic"),
        (["trim", "no-such-topic", "-y"], 4, "there is no topic"),
        (["delete", "no-such-topic", "-y"], 4, "there is no topic"),
        (["remove", "t"], 2, "No such command 'remove'"),
    ],
)
def test_topic_refuses_in_words(pybroker: Run, arguments: list[str], code: int, says: str) -> None:
    refused(pybroker("topic", *arguments), code, says)


def test_config(pybroker: Run, topic: str) -> None:
    assert pybroker("topic", "config", topic).rows == [["KEY", "VALUE", "SOURCE"]]
    changed = pybroker("topic", "config", topic, "-s", "retention.ms=5000", "-s", "cleanup.policy=compact")
    assert changed.rows[1:] == [["cleanup.policy", "compact", "topic"], ["retention.ms", "5000", "topic"]]
    back = pybroker("topic", "config", topic, "-d", "retention.ms", "-o", "json")
    assert [(each["key"], each["source"]) for each in json.loads(back.out)] == [
        ("cleanup.policy", "topic"),
        ("retention.ms", "default"),
    ]
    assert len(pybroker("topic", "config", topic, "--all").rows) > 20
    refused(pybroker("topic", "config", topic, "-s", "segment.bytes=x"), 1, "segment.bytes", "lists every key")


def test_grow(pybroker: Run, topic: str) -> None:
    done = pybroker("topic", "grow", topic, "3", stdin=b"y\n")
    assert (done.code, done.out) == (0, f"{topic} has 3 partitions\n")
    assert f"{topic}: 1 partitions become 3. Keys are spread anew" in done.err
    assert pybroker("topic", "grow", topic, "4", "-y").code == 0
    refused(pybroker("topic", "grow", topic, "2", "-y"), 1, "partitions can only be added")


def test_trim(pybroker: Run, filled: str) -> None:
    done = pybroker("topic", "trim", filled, "--before", "4", stdin=b"y\n")
    assert "partition 0: offsets 0 to 4, 4 at most" in done.err
    assert done.rows == [["TOPIC", "PARTITION", "START OFFSET"], [filled, "0", "4"]]
    assert pybroker("consume", filled, "-o", ":end").out == "".join(f"v{number}\n" for number in range(4, 10))
    assert pybroker("topic", "trim", filled, "--before", "2", "-y").err == "nothing to delete\n"
    refused(pybroker("topic", "trim", filled, "--before", "soon", "-y"), 2, "'soon' is no offset")
    refused(pybroker("topic", "trim", filled, "-p", "7", "-y"), 4, f"{filled}-7 does not exist")
    assert json.loads(pybroker("topic", "trim", filled, "-y", "-o", "json").out) == [
        {"topic": filled, "partition": 0, "start_offset": 10}
    ]


def test_delete(pybroker: Run, filled: str) -> None:
    for answer in (b"n\n", b""):
        done = pybroker("topic", "delete", filled, stdin=answer)
        assert done.code != 0
        assert f"{filled}, with 10 records" in done.err
    assert pybroker("topic", "describe", filled).code == 0, "nothing was confirmed"
    assert pybroker("topic", "delete", filled, stdin=b"y\n").out == f"deleted topic {filled}\n"
    assert pybroker("topic", "describe", filled).code == 4


# produce and consume


def test_lines_come_back(pybroker: Run, topic: str) -> None:
    lines = "hello\n\nwörld\r\nlast without an end".encode()
    assert pybroker("produce", topic, stdin=lines) == (0, "", f"4 records sent to {topic}\n")
    assert pybroker("consume", topic, "-o", ":end").out == "hello\n\nwörld\nlast without an end\n"


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_compression(pybroker: Run, topic: str, codec: str) -> None:
    assert pybroker("produce", topic, "-z", codec, "--acks", "1", stdin=b"x\n" * 1_000).code == 0
    assert pybroker("consume", topic, "-o", "0-999").out == "x\n" * 1_000


def test_keys_headers_partitions_and_tombstones(pybroker: Run, topic: str) -> None:
    pybroker("topic", "grow", topic, "3", "-y")
    assert (
        pybroker("produce", topic, "-p", "2", "-K", "=", "-Z", "-H", "a=1", "-H", "b=", stdin=b"k=v=w\nk=\n").code == 0
    )
    assert pybroker("produce", topic, "-k", "fixed", "-p", "0", stdin=b"\n").code == 0
    shown = pybroker("consume", topic, "-o", ":end", "-f", r"%p %o %k %V %v %h\n").out
    assert sorted(shown.splitlines()) == ["0 0 fixed 0  ", "2 0 k 3 v=w a=1,b=", "2 1 k -1  a=1,b="]


@pytest.mark.parametrize(
    ("offset", "expected"),
    [
        ("0:3", [0, 1, 2]),
        ("7-8", [7, 8]),
        (":2", [0, 1]),
        (":end", list(range(10))),
        ("@-1h:end", list(range(10))),
        ("@2020-01-01:2020-01-02", []),
        ("5:5", []),
        ("50:60", []),
    ],
)
def test_ranges_end_by_themselves(pybroker: Run, filled: str, offset: str, expected: list[int]) -> None:
    assert pybroker("consume", filled, "-o", offset) == (0, "".join(f"v{number}\n" for number in expected), "")


@pytest.mark.parametrize(
    ("offset", "first"), [("start", 0), ("4", 4), ("+3", 3), ("-2", 8), ("@-1h", 0), ("@1600000000", 0), ("-99", 0)]
)
def test_beginnings(pybroker: Run, filled: str, offset: str, first: int) -> None:
    done = pybroker("consume", filled, "-o", offset, "-n", "2")
    assert (done.code, done.out) == (0, f"v{first}\nv{first + 1}\n")


def test_formats(pybroker: Run, filled: str) -> None:
    shown = pybroker(
        "consume", filled, "-o", "3-3", "-f", r"%t|%p|%o|%k|%v{hex}|%k{base64}|%K|%V|%H|%h{%k=%v}|%%|\x41\t\n"
    )
    assert shown.out == f"{filled}|0|3|k3|7633|azM=|2|2|1|a=1|%|A\t\n"
    found = json.loads(pybroker("consume", filled, "-o", "3-3", "-f", "json").out)
    assert found.pop("timestamp") > 1_600_000_000_000
    assert found == {
        "topic": filled,
        "partition": 0,
        "offset": 3,
        "key": "k3",
        "value": "v3",
        "headers": [{"key": "a", "value": "1"}],
    }


def test_several_topics_and_partitions(pybroker: Run) -> None:
    one, two = a_name("cli"), a_name("cli")
    pybroker("topic", "create", one, two, "-p", "2")
    for name in (one, two):
        for partition in ("0", "1"):
            pybroker("produce", name, "-p", partition, stdin=b"x\n")
    shown = pybroker("consume", one, two, "-o", ":end", "-f", r"%t %p\n").out
    assert sorted(shown.splitlines()) == sorted(f"{name} {partition}" for name in (one, two) for partition in (0, 1))
    assert pybroker("consume", one, "-o", ":end", "-p", "1", "-f", r"%p\n").out == "1\n"


def test_isolation(pybroker: Run, filled: str) -> None:
    assert pybroker("consume", filled, "-o", ":end", "--isolation", "read_committed").out.count("\n") == 10


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["consume"], 2, "Missing argument"),
        (["consume", "no-such-topic", "-o", "start"], 4, "`pybroker topic list` shows them"),
        (["consume", "t", "-o", "yesterday"], 2, "one of start, end, N, +N, -N"),
        (["consume", "t", "-o", "9-5"], 2, "ends before it begins"),
        (["consume", "t", "-f", "%q"], 2, "there are %t %p %o %k %v"),
        (["consume", "t", "-n", "0"], 2, "0 is not in the range"),
        (["produce", "t", "--acks", "2"], 2, "'2' is not one of"),
        (["produce", "t", "-H", "x"], 2, "'x' is not KEY=VALUE"),
        (["produce", "a b"], 1, "a name has 1 to 249"),
    ],
)
def test_produce_and_consume_refuse_in_words(pybroker: Run, arguments: list[str], code: int, says: str) -> None:
    refused(pybroker(*arguments, stdin=b"line\n"), code, says)


def test_what_cannot_be_produced_is_told(pybroker: Run, filled: str) -> None:
    refused(pybroker("produce", filled, "-K", ":", stdin=b"no separator\n"), 2, "a line has no ':'", "no separator")
    refused(pybroker("produce", filled, "-p", "7", stdin=b"x\n"), 4, "has partitions 0 to 0, not 7")
    pybroker("topic", "config", filled, "-s", "max.message.bytes=100")
    refused(pybroker("produce", filled, stdin=b"x\n" + b"y" * 500 + b"\n"), 1, "1 of 2 records were not delivered")
    refused(pybroker("consume", filled, "-o", "start", "-p", "7"), 4, f"{filled}-7 does not exist")


@pytest.mark.parametrize("bootstrap_list", ["nobody", "here:there", ","])
@pytest.mark.parametrize("command", [["topic", "list"], ["consume", "t"], ["produce", "t"]])
def test_a_bootstrap_list_that_cannot_be(pybroker: Run, command: list[str], bootstrap_list: str) -> None:
    if bootstrap_list == "nobody":
        bootstrap_list = f"127.0.0.1:{free_port()},127.0.0.1:x"
    refused(pybroker(*command, "-b", bootstrap_list, stdin=b"x\n"), 2, "host:port")


# In a process of their own.


def test_no_broker(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    asked = [started(address, *command) for command in (["topic", "list"], ["consume", "t"], ["produce", "t"])]
    for process in asked:
        out, err = process.communicate(b"x\n", timeout=30)
        assert (process.returncode, out) == (3, b"")
        assert b"Traceback" not in err
        assert f"cannot connect to bootstrap server {address}" in err.decode()
        assert b"start one with `pybroker serve`, or name another with -b HOST:PORT" in err


def test_produce_from_a_pipe_sends_lines_as_they_come(bootstrap: str, pybroker: Run, topic: str) -> None:
    producing = started(bootstrap, "produce", topic)
    consuming = started(bootstrap, "consume", topic, "-o", "start")
    assert producing.stdin is not None
    assert consuming.stdout is not None
    for number in range(3):
        producing.stdin.write(b"line %d\n" % number)
        producing.stdin.flush()
        assert consuming.stdout.readline() == b"line %d\n" % number
    _, err = producing.communicate(b"last", timeout=30)
    assert (producing.returncode, err) == (0, f"4 records sent to {topic}\n".encode())
    assert consuming.stdout.readline() == b"last\n"
    consuming.send_signal(signal.SIGINT)
    out, err = consuming.communicate(timeout=30)
    assert (consuming.returncode, out, err.strip()) == (130, b"", b"")


def test_who_reads_may_go_away(bootstrap: str, pybroker: Run, topic: str) -> None:
    pybroker("produce", topic, stdin=b"x" * 99 + b"\n" + b"y\n" * 100_000)
    consuming = started(bootstrap, "consume", topic, "-o", "start")
    assert consuming.stdout is not None
    assert consuming.stdout.readline() == b"x" * 99 + b"\n"
    consuming.stdout.close()
    assert consuming.stderr is not None
    assert consuming.stderr.read() == b""
    assert consuming.wait(30) == 0
    consuming.communicate()


# log dump


def test_a_partition_of_a_broker_is_dumped(pybroker: Run, broker_process: BrokerProcess) -> None:
    address = broker_process.bootstrap
    pybroker("topic", "create", "t", "-b", address)
    pybroker("produce", "t", "-K", ":", "-z", "zstd", "-b", address, stdin=b"k1:v1\nk2:v2\n")
    broker_process.stop()
    partition = broker_process.data_dir / "t-0"
    segment = partition / "00000000000000000000.log"
    done = pybroker("log", "dump", segment)
    assert done.code == 0, done
    assert [row[1:4] for row in done.rows[1:]] == [["0", "1", "2"]]
    records = [json.loads(line) for line in pybroker("log", "dump", segment, "-r", "-o", "json").out.splitlines()]
    assert [(each["offset"], each["key"], each["value"]) for each in records] == [(0, "k1", "v1"), (1, "k2", "v2")]
    assert pybroker("log", "dump", partition).code == 0
    data = bytearray(segment.read_bytes())
    data[-1] ^= 1
    segment.write_bytes(data)
    damaged = pybroker("log", "dump", segment)
    assert damaged.code == 1
    assert "checksum of the batch at offset 0 is wrong" in damaged.err
    refused(pybroker("log", "dump", partition / "missing.log"), 4, "there is no")
