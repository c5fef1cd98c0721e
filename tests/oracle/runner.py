"""Plays exchanges to a broker over raw sockets and returns what came back, as plain normalised values.

One result per step that is recorded: {"request": "Fetch v12", "answer": {...}}, or "outcome": "closed" (the broker
closed the connection instead of answering) or "silent" (it answers the next request, but not this one). A connection
that the broker closed is opened anew by the next step on it. Blocking on purpose: one exchange is one thread.
"""

from __future__ import annotations

import contextlib
import itertools
import secrets
import socket
import struct
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tests.oracle.exchange import Await, Call, Exchange, Hangup, Node, Now, Padded, Raw, Saved, Step
from tests.oracle.normalise import Normaliser, Plain, element_struct, to_plain

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.codec import encode
from pybroker_protocol.frame import (
    RequestHeader,
    decode_response,
    first_flexible_version,
    request_class,
    version_range,
)
from pybroker_protocol.header import encode_request_header
from pybroker_protocol.schema.classes import Message
from pybroker_protocol.schema.nodes import ArrayOf, Struct

ANSWER_TIMEOUT_S: Final = 8.0
REPEAT_FOR_S: Final = 8.0
REPEAT_EVERY_S: Final = 0.01
_SIZE: Final = struct.Struct(">i")
_FRAME_START: Final = struct.Struct(">hhi")
_KEYS: Final = {key.stem: key for key in ApiKey}
_PROBE_CORRELATION_ID: Final = 0x7FFF0000
_WAIT_SLACK_MS: Final = 5

Result = dict[str, Plain]


class Closed(Exception):
    """The broker closed the connection."""


@dataclass
class _Waiting:
    """A request that was sent and not yet answered."""

    call: Call
    correlation_id: int
    sent_at: float


class Connection:
    """One socket and what waits on it, oldest first."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._socket = socket.create_connection(address, timeout=ANSWER_TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.waiting: deque[_Waiting] = deque()

    def send(self, data: bytes) -> None:
        with contextlib.suppress(ConnectionError):  # reading tells what the broker made of it
            self._socket.sendall(data)

    def receive(self) -> bytes:
        """The next frame without its size. Raises Closed, or TimeoutError when nothing comes."""
        size = _SIZE.unpack(self._exactly(4))[0]
        return self._exactly(size)

    def _exactly(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            try:
                chunk = self._socket.recv(count - len(data))
            except ConnectionError:
                chunk = b""
            if not chunk:
                raise Closed
            data += chunk
        return bytes(data)

    def close(self) -> None:
        self._socket.close()


def split_address(bootstrap: str) -> tuple[str, int]:
    host, _, port = bootstrap.rpartition(":")
    return host, int(port)


def find_node_id(bootstrap: str) -> int:
    """The node id of the broker at this address, by Metadata."""
    connection = Connection(split_address(bootstrap))
    try:
        message = _fill(request_class(ApiKey.METADATA), {"topics": []}, lambda value: value)
        connection.send(_frame(ApiKey.METADATA, 9, 9, 1, "oracle", message))
        _, answer = decode_response(ApiKey.METADATA, 9, memoryview(connection.receive()))
        node_id: int = answer.brokers[0].node_id
        return node_id
    finally:
        connection.close()


class Player:
    """Plays exchanges to one broker; may be used for any number of them, one after the other."""

    def __init__(self, bootstrap: str, node_id: int | None = None) -> None:
        """`node_id`: of the broker at this address, where it is not alone."""
        self._address = split_address(bootstrap)
        self._node_id = find_node_id(bootstrap) if node_id is None else node_id
        self._run = secrets.token_hex(3)
        self._counter = itertools.count()

    def play(self, exchange: Exchange) -> list[Result]:
        prefix = f"o{self._run}-{next(self._counter)}-"
        play = _Play(self._address, self._node_id, prefix)
        try:
            return [result for step in exchange.steps for result in play.step(step)]
        except Exception as error:
            error.add_note(f"in the exchange {exchange.name}")
            raise
        finally:
            play.close()


class _Play:
    """The state of one exchange while it is played."""

    def __init__(self, address: tuple[str, int], node_id: int, prefix: str) -> None:
        self._address = address
        self._node_id = node_id
        self._prefix = prefix
        self._start_ms = int(time.time() * 1000)
        self._moments: dict[int, int] = {}
        self._saved: dict[str, Any] = {}
        self._connections: dict[str, Connection] = {}
        self._correlation_ids = itertools.count(1)
        self._normaliser = Normaliser(prefix, node_id, self._start_ms, self._moments)

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()

    def step(self, step: Step) -> Iterator[Result]:
        if isinstance(step, Hangup):
            self._drop(step.on)
        elif isinstance(step, Raw):
            yield self._raw(step)
        elif isinstance(step, Await):
            yield self._receive(step.on)
        elif not step.wait:
            self._send(step)
        else:
            result = self._repeat(step) if step.until else self._once(step)
            if not step.hidden:
                yield result

    def _connection(self, name: str) -> Connection:
        if name not in self._connections:
            self._connections[name] = Connection(self._address)
        return self._connections[name]

    def _drop(self, name: str) -> None:
        connection = self._connections.pop(name, None)
        if connection is not None:
            connection.close()

    def _raw(self, step: Raw) -> Result:
        connection = self._connection(step.on)
        connection.send(step.data)
        try:
            connection.receive()
        except Closed:
            self._drop(step.on)
            return {"request": step.what, "outcome": "closed"}
        return {"request": step.what, "outcome": "answered"}

    def _once(self, call: Call) -> Result:
        self._send(call)
        return self._probe(call) if call.probe else self._receive(call.on)

    def _repeat(self, call: Call) -> Result:
        """Sends the request until its answer is as `until` says; then what the answer was, whatever it is."""
        deadline = time.monotonic() + REPEAT_FOR_S
        while True:
            result = self._once(call)
            answer = result.get("answer", {})
            done = all(_reach(answer, path) == value for path, value in call.until.items())
            if done or time.monotonic() > deadline:
                return result
            time.sleep(REPEAT_EVERY_S)

    def _send(self, call: Call) -> None:
        connection = self._connection(call.on)
        correlation_id = next(self._correlation_ids)
        key = _KEYS[call.api]
        message = _fill(request_class(key), call.fields, self._resolve)
        claimed = call.version if call.claim_version is None else call.claim_version
        frame = _frame(key, call.version, claimed, correlation_id, call.client_id, message)
        if call.cut or call.extra or call.patch:
            frame = _spoil(frame, call, first_flexible_version(key))
        connection.waiting.append(_Waiting(call, correlation_id, time.monotonic()))
        connection.send(frame)

    def _probe(self, call: Call) -> Result:
        """A request that is always answered goes behind: whose answer comes first?"""
        connection = self._connection(call.on)
        probe = _fill(request_class(ApiKey.API_VERSIONS), {}, self._resolve)
        connection.send(_frame(ApiKey.API_VERSIONS, 0, 0, _PROBE_CORRELATION_ID, "oracle", probe))
        waiting = connection.waiting.popleft()
        described = _described(call)
        try:
            frame = connection.receive()
            if _SIZE.unpack_from(frame)[0] == _PROBE_CORRELATION_ID:
                return described | {"outcome": "silent"}
            connection.receive()
        except Closed:
            self._drop(call.on)
            return described | {"outcome": "closed"}
        return described | {"answer": self._decode(waiting, frame)}

    def _receive(self, name: str) -> Result:
        connection = self._connection(name)
        waiting = connection.waiting.popleft()
        described = _described(waiting.call)
        try:
            frame = connection.receive()
        except Closed:
            self._drop(name)
            return described | {"outcome": "closed"}
        except TimeoutError:
            self._drop(name)
            return described | {"outcome": "no answer in time"}
        if waiting.call.timed_ms is not None:
            elapsed_ms = (time.monotonic() - waiting.sent_at) * 1000
            described["waited"] = elapsed_ms >= waiting.call.timed_ms - _WAIT_SLACK_MS
        return described | {"answer": self._decode(waiting, frame)}

    def _decode(self, waiting: _Waiting, frame: bytes) -> Plain:
        call = waiting.call
        key = _KEYS[call.api]
        version = call.version if call.answer_version is None else call.answer_version
        correlation_id, message = decode_response(key, version, memoryview(frame))
        assert correlation_id == waiting.correlation_id, "an answer out of order"
        plain = to_plain(message, version)
        for name, path in call.save.items():
            self._saved[name] = _reach(plain, path)
        if key == ApiKey.INIT_PRODUCER_ID:
            self._normaliser.learn_producer(plain["producer_id"])
        if "topic" in call.save:
            self._normaliser.learn_topic(self._saved["topic"], self._saved["id"])
        return self._normaliser.normalise(plain, own=call.own)

    def _resolve(self, value: Any) -> Any:
        """Placeholders to values; everything else as it is."""
        if isinstance(value, str):
            return self._prefix + value[1:] if value.startswith("@") else value
        if isinstance(value, Saved):
            saved = self._saved[value.name]
            return saved + value.plus if value.plus else saved
        if isinstance(value, Node):
            return str(self._node_id) if value.as_text else self._node_id
        if isinstance(value, Now):
            moment = self._start_ms + value.delta_ms
            self._moments[moment] = value.delta_ms
            return moment
        if isinstance(value, Padded):
            return (self._prefix + value.name[1:]).ljust(value.length, "x")
        if hasattr(value, "encode") and not isinstance(value, (bytes, int)):
            return value.encode(self._resolve)
        return value


def _described(call: Call) -> Result:
    claimed = call.version if call.claim_version is None else call.claim_version
    return {"request": f"{call.api} v{claimed}"}


def _reach(value: Plain, path: str) -> Plain:
    """The value at a path ("topics.0.topic_id"); None where there is none. With `|` in it, that separates instead."""
    for part in path.split("|" if "|" in path else "."):
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list) and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value


def _fill(message_class: type[Message], fields: Mapping[str, Any], resolve: Any) -> Message:
    return _fill_struct(message_class, message_class.struct, fields, resolve)


def _fill_struct(root: type[Message], struct: Struct, fields: Mapping[str, Any], resolve: Any) -> Message:
    by_name = {field.name: field for field in struct.fields}
    unknown = fields.keys() - by_name.keys()
    assert not unknown, f"{struct.name} has no field {', '.join(sorted(unknown))}"
    values: dict[str, Any] = {}
    for name, value in fields.items():
        inner = element_struct(by_name[name])
        if inner is not None and value is not None:
            if isinstance(by_name[name].type, ArrayOf):
                values[name] = [_fill_struct(root, inner, element, resolve) for element in value]
            else:
                values[name] = _fill_struct(root, inner, value, resolve)
        elif isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
            values[name] = [resolve(element) for element in value]
        else:
            values[name] = resolve(value)
    made_class = root if struct is root.struct else getattr(root, struct.name)
    made: Message = made_class(**values)
    return made


def _frame(key: int, version: int, claimed: int, correlation_id: int, client_id: str | None, message: Message) -> bytes:
    """A request frame; its header says `claimed` while header form and body are those of `version`."""
    low, high = version_range(key)
    assert low <= version <= high, f"{ApiKey(key).stem} has no version {version} to encode"
    header = encode_request_header(RequestHeader(key, version, correlation_id, client_id))
    _FRAME_START.pack_into(header, 0, key, claimed, correlation_id)
    body = bytes(header) + b"".join(encode(message, version))
    return _SIZE.pack(len(body)) + body


def _spoil(frame: bytes, call: Call, first_flexible: int) -> bytes:
    """Cuts, adds and overwrites as the call says; the size in front is made to fit."""
    flexible_byte = 1 if call.version >= first_flexible else 0
    body_start = 4 + 10 + len((call.client_id or "").encode()) + flexible_byte
    spoiled = bytearray(frame)
    for position, data in call.patch:
        at = position + (body_start if position >= 0 else len(spoiled))
        spoiled[at : at + len(data)] = data
    kept = bytes(spoiled[4 : len(spoiled) - call.cut]) + call.extra
    return _SIZE.pack(len(kept)) + kept
