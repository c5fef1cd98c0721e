"""Bytes that no client should send, to a broker process: a close, one line in the log, and no effect on
anybody else.

Each test names the row of reliability 5a that it shows. What Kafka itself answers to single bad frames is
compared in the oracle's catalogue; here are floods, slowness, other protocols, memory, and what the log
says.
"""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import time
from collections.abc import Iterator

import pytest
from tests.support.broker_process import BrokerProcess

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode
from pybroker_protocol.frame import decode_response, encode_request
from pybroker_protocol.messages import ApiVersionsRequest, ApiVersionsResponse, MetadataRequest, MetadataResponse

API_VERSIONS, METADATA = int(ApiKey.API_VERSIONS), int(ApiKey.METADATA)
MIB = 1 << 20


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    made = BrokerProcess(tmp_path_factory.mktemp("bad-frames") / "data")
    made.start()
    yield made
    made.stop()
    made.close()


@contextlib.contextmanager
def connected(broker: BrokerProcess) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", broker.port), timeout=5) as connection:
        yield connection


def metadata_frame(correlation_id: int = 1, version: int = 9) -> bytes:
    return b"".join(encode_request(METADATA, version, correlation_id, "test", MetadataRequest(topics=[])))


def read_exactly(connection: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        chunk = connection.recv(count - len(data))
        assert chunk, f"closed after {len(data)} of {count} bytes"
        data += chunk
    return bytes(data)


def read_response(connection: socket.socket) -> memoryview:
    (size,) = struct.unpack(">i", read_exactly(connection, 4))
    return memoryview(read_exactly(connection, size))


def read_to_end(connection: socket.socket) -> bytes:
    """Everything until the broker closes; TimeoutError when it does not."""
    data = bytearray()
    with contextlib.suppress(ConnectionResetError):
        while chunk := connection.recv(65_536):
            data += chunk
    return bytes(data)


def assert_serves(broker: BrokerProcess) -> None:
    start = time.monotonic()
    with connected(broker) as connection:
        connection.sendall(metadata_frame(5))
        correlation_id, _ = decode_response(METADATA, 9, read_response(connection))
    assert correlation_id == 5
    assert time.monotonic() - start < 1


def outcome_of(broker: BrokerProcess, data: bytes) -> bytes:
    with connected(broker) as connection:
        connection.sendall(data)
        return read_to_end(connection)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\xff\xff\xff\xff", id="length below 0"),
        pytest.param(b"\x80\x00\x00\x00", id="length minimum"),
        pytest.param(struct.pack(">i", 100 * MIB + 1), id="length above the limit"),
        pytest.param(struct.pack(">i", 0), id="length 0"),
        pytest.param(struct.pack(">ih", 2, 3), id="key only"),
        pytest.param(struct.pack(">ihhi", 8, 3, 9, 1), id="header without client id"),
        pytest.param(struct.pack(">ihhih", 10, 3, 9, 1, 500), id="client id longer than the frame"),
        pytest.param(struct.pack(">ihhih", 10, 3, 9, 1, -2), id="client id of length -2"),
        pytest.param(struct.pack(">ihhih", 10, 9999, 0, 1, -1), id="unknown key"),
        pytest.param(struct.pack(">ihhih", 10, -1, 0, 1, -1), id="key -1"),
        pytest.param(struct.pack(">ihhih", 10, 3, 99, 1, -1), id="unsupported version"),
        pytest.param(struct.pack(">ihhih", 10, 3, -1, 1, -1), id="version -1"),
        pytest.param(struct.pack(">ihhihi", 14, 3, 1, 1, -1, 2_000_000_000), id="count above the bytes"),
        pytest.param(
            struct.pack(">ihhihi", 14 + 400_000, 3, 1, 1, -1, 200_000) + bytes(400_000), id="count above the budget"
        ),
        pytest.param(struct.pack(">ihhihih", 16, 3, 1, 1, -1, 1, -1), id="null where a name must be"),
        pytest.param(struct.pack(">ihhihih", 18, 3, 1, 1, -1, 1, 2) + b"\xff\xfe", id="topic name not UTF-8"),
    ],
)
def test_a_bad_frame_closes_its_connection_and_no_other(broker: BrokerProcess, data: bytes) -> None:
    with connected(broker) as bystander:
        assert outcome_of(broker, data) == b""
        bystander.sendall(metadata_frame(77))
        assert decode_response(METADATA, 9, read_response(bystander))[0] == 77
    assert_serves(broker)


def test_an_unknown_version_of_api_versions_is_answered_and_the_connection_lives_on(broker: BrokerProcess) -> None:
    """KIP-511."""
    with connected(broker) as connection:
        connection.sendall(struct.pack(">ihhih", 10 + 3, API_VERSIONS, 99, 4, -1) + b"\x00\xff\xff")
        correlation_id, answer = decode_response(API_VERSIONS, 0, read_response(connection))
        assert isinstance(answer, ApiVersionsResponse)
        assert (correlation_id, answer.error_code) == (4, ErrorCode.UNSUPPORTED_VERSION)
        assert [(k.api_key, k.min_version, k.max_version) for k in answer.api_keys] == [(API_VERSIONS, 0, 4)]
        request = ApiVersionsRequest(client_software_name="test", client_software_version="1")
        connection.sendall(b"".join(encode_request(API_VERSIONS, 4, 5, "test", request)))
        assert decode_response(API_VERSIONS, 4, read_response(connection))[1].error_code == 0


def test_bytes_after_a_body_are_taken(broker: BrokerProcess) -> None:
    frame = metadata_frame(3)[4:] + b"padding"
    with connected(broker) as connection:
        connection.sendall(struct.pack(">i", len(frame)) + frame)
        assert decode_response(METADATA, 9, read_response(connection))[0] == 3


@pytest.mark.parametrize("client_id", [None, b"", b"\xff\xfe\xfd", b"x" * 30_000])
def test_odd_client_ids_are_served(broker: BrokerProcess, client_id: bytes | None) -> None:
    name = b"" if client_id is None else client_id
    header = struct.pack(">hhih", METADATA, 1, 9, -1 if client_id is None else len(name)) + name
    body = header + struct.pack(">i", 0)
    with connected(broker) as connection:
        connection.sendall(struct.pack(">i", len(body)) + body)
        _, answer = decode_response(METADATA, 1, read_response(connection))
        assert isinstance(answer, MetadataResponse)


@pytest.mark.parametrize("request_line", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"POST /topics HTTP/1.1\r\n\r\n{}"])
def test_http_is_answered_in_http(broker: BrokerProcess, request_line: bytes) -> None:
    answer = outcome_of(broker, request_line)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"not HTTP" in answer


def test_other_protocols_are_named_in_the_log_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    broker = BrokerProcess(tmp_path_factory.mktemp("protocols") / "data")
    broker.start()
    try:
        hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100)
        for _ in range(20):
            assert outcome_of(broker, hello) == b""
            assert outcome_of(broker, b"SSH-2.0-OpenSSH_9.2\r\n") == b""
            assert b"400" in outcome_of(broker, b"GET /metrics HTTP/1.1\r\n\r\n")
            assert outcome_of(broker, struct.pack(">ihhih", 10, 9999, 0, 1, -1)) == b""
        broker.stop()
        lines = [line for line in broker.log().splitlines() if "connection_refused" in line]
        assert sorted(re.findall(r"kind=([\w-]+)", "\n".join(lines))) == ["http", "ssh", "tls", "unsupported-request"]
        assert all("peer=127.0.0.1:" in line for line in lines)
        assert "security.protocol" in broker.log()
        assert "Traceback" not in broker.log()
    finally:
        broker.close()


def test_a_request_byte_by_byte_is_served(broker: BrokerProcess) -> None:
    with connected(broker) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in metadata_frame(8):
            connection.sendall(bytes([byte]))
        assert decode_response(METADATA, 9, read_response(connection))[0] == 8


def test_one_thousand_requests_without_reading_are_all_answered_in_order(broker: BrokerProcess) -> None:
    with connected(broker) as connection:
        connection.sendall(b"".join(metadata_frame(number) for number in range(1_000)))
        assert_serves(broker)
        for number in range(1_000):
            assert decode_response(METADATA, 9, read_response(connection))[0] == number


def test_a_flood_that_is_never_read_takes_little_memory(broker: BrokerProcess) -> None:
    before = broker.resident_bytes()
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            connection = stack.enter_context(connected(broker))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.setblocking(False)
            frames = b"".join(metadata_frame(number) for number in range(2_000))
            with contextlib.suppress(BlockingIOError):
                while True:
                    connection.send(frames)
        assert_serves(broker)
        assert broker.resident_bytes() - before < 64 * MIB
    assert_serves(broker)


def test_announced_and_never_sent_takes_little_memory(broker: BrokerProcess) -> None:
    """F26 and "length huge but legal, body never sent": 100 MiB announced by each of 300 clients."""
    before = broker.resident_bytes()
    with contextlib.ExitStack() as stack:
        for _ in range(300):
            connection = stack.enter_context(connected(broker))
            connection.sendall(struct.pack(">ihhih", 100 * MIB, METADATA, 9, 1, -1))
        assert_serves(broker)
        assert broker.resident_bytes() - before < 32 * MIB
    assert_serves(broker)


def test_connect_and_close_without_a_word_leaves_nothing_behind(broker: BrokerProcess) -> None:
    before = broker.resident_bytes()
    for _ in range(500):
        with connected(broker):
            pass
    for _ in range(200):
        with connected(broker) as connection:
            connection.sendall(b"\x00\x00")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert_serves(broker)
    assert broker.resident_bytes() - before < 16 * MIB
