"""One client connection: bytes in, requests handled in order, responses out in the same order.

Rules of this file: everything happens in callbacks of the event loop, none waits. Small frames are handled
where the shared receive buffer holds them; a frame that is not complete gets a buffer of its own, received
straight into its place, so that record bytes are never moved (design D2). Handlers change them in place
(base offset, leader epoch), so both kinds are writable.

Order. Requests are handled as they come, each to its end or until it waits. Answers that wait keep their
place in `_waiting`, and nothing overtakes them. Only waiting appends (`pipelined`) let the next request be
handled; everything else holds the connection, as Kafka does.

Back-pressure. A connection that is held (`_held` is not 0) handles nothing; on the next bytes that come it
stops reading too. It is held while an answer holds it, while it has too many answers waiting, while the
peer does not read what it is sent, while it is throttled (KIP-219), while memory for requests is short, and
once it is closing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from struct import Struct
from typing import TYPE_CHECKING, Any, Final, cast

from pybroker_protocol.codec import Buffer
from pybroker_server.handlers.request import ConnectionInfo
from pybroker_server.network.advertise import plain_host
from pybroker_server.network.dispatcher import Answer, Later, Refused
from pybroker_server.network.hub import LARGE_FRAME_BYTES, ConnectionHub
from pybroker_server.network.refusal import refuse_frame

if TYPE_CHECKING:
    import mmap

_SIZE: Final = Struct(">i")
_SIZE_BYTES: Final = 4
_WRITE_AT_BYTES: Final = 256 * 1024
"""Responses are gathered into one write per callback, up to this much."""

# Why a connection is held: bits of `_held`.
_ANSWER: Final = 1
_CROWDED: Final = 2
_PEER_NOT_READING: Final = 4
_THROTTLED: Final = 8
_MEMORY: Final = 16
_CLOSING: Final = 32
_TURN: Final = 64

_FRAMES_PER_TURN: Final = 64
"""A peer that sends a thousand small requests at once lets the others in between."""


class ClientConnection(asyncio.BufferedProtocol):
    """Made per accepted connection; `on_lost` is called once when it is gone."""

    __slots__ = (
        "_closed",
        "_dispatcher",
        "_frame",
        "_frame_buffer",
        "_frame_received",
        "_held",
        "_hub",
        "_last_active_ms",
        "_last_frame_large",
        "_on_lost",
        "_out",
        "_out_bytes",
        "_reading",
        "_scheduled",
        "_stash",
        "_transport",
        "_unsent_bytes",
        "_waiting",
        "_waiting_bytes",
        "info",
    )

    def __init__(
        self, hub: ConnectionHub, listener: str, on_lost: Callable[[], None], *, is_inter_broker: bool = False
    ) -> None:
        self._hub = hub
        self._dispatcher = hub.dispatcher
        self._on_lost = on_lost
        self.info = ConnectionInfo(hub.next_connection_id(), listener, "", 0, "", 0, is_inter_broker=is_inter_broker)
        self._transport: asyncio.Transport
        self._reading = True
        self._closed = False
        self._scheduled = False
        self._held = 0
        self._last_active_ms = 0
        # Bytes that could not be handled yet: up to three of a size, or all that came while held.
        self._stash = bytearray()
        # The frame that is being received, in a buffer of its own.
        self._frame: memoryview | None = None
        self._frame_buffer: mmap.mmap | None = None
        self._frame_received = 0
        self._last_frame_large = False
        # Responses: to be written in this callback; waiting in order.
        self._out: list[Buffer] = []
        self._out_bytes = 0
        self._waiting: deque[Later | list[Buffer]] = deque()
        self._waiting_bytes = 0
        self._unsent_bytes = 0

    # Called by the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        local = transport.get_extra_info("sockname") or ("", 0)
        peer = transport.get_extra_info("peername") or ("", 0)
        self.info.local_host, self.info.local_port = local[0], local[1]
        self.info.peer_host, self.info.peer_port = peer[0], peer[1]
        self._last_active_ms = self._hub.clock.monotonic_ms()
        self._hub.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed = True
        self._held |= _CLOSING
        for answer in self._waiting:
            if isinstance(answer, Later):
                answer.abandon()
        self._waiting.clear()
        self._out.clear()
        self._drop_frame()
        self._hub.forget(self)
        self._on_lost()

    def get_buffer(self, sizehint: int) -> memoryview:
        if self._frame is not None:
            return self._frame[self._frame_received :]
        if self._stash:
            return self._hub.scratch_view[len(self._stash) :]
        return self._hub.head_view if self._last_frame_large else self._hub.scratch_view

    def buffer_updated(self, count: int) -> None:
        hub = self._hub
        now_us = hub.clock.monotonic_us()
        self._last_active_ms = now_us // 1000
        if self._frame is not None:
            self._frame_received += count
            if not hub.memory.received(self, count) and self._frame_received < len(self._frame):
                self._held |= _MEMORY
            if not self._held:
                self._handle_own_frame(now_us)
        else:
            if self._stash:
                hub.scratch[: len(self._stash)] = self._stash
                count += len(self._stash)
                self._stash = bytearray()
            received = memoryview(hub.scratch)[:count]
            self._handle(received, now_us)
            del received
            hub.recycle_scratch()
        if self._out:
            self._write()
        if self._held and self._reading and not self._listens_on():
            self._reading = False
            self._transport.pause_reading()

    def _listens_on(self) -> bool:
        """Whether nothing holds it but a follower's fetch that waits, which is answered at once when more comes."""
        if self._held != _ANSWER or len(self._waiting) != 1:
            return False
        answer = self._waiting[0]
        if not isinstance(answer, Later) or not answer.can_hurry:
            return False
        if self._stash or self._frame is not None:
            answer.hurry()
            return False
        return True

    def eof_received(self) -> bool:
        """The peer sends no more. What it asked for is still answered, unless it would have to be waited
        for."""
        self.shut_down()
        return True

    def pause_writing(self) -> None:
        self._held |= _PEER_NOT_READING

    def resume_writing(self) -> None:
        self._release(_PEER_NOT_READING)

    # From bytes to answers

    def _handle(self, received: memoryview, now_us: int) -> None:
        """Handles the complete frames in `received`; keeps the rest."""
        position = turn = 0
        end = len(received)
        limit = self._hub.settings.socket_request_max_bytes
        while not self._held:
            body = position + _SIZE_BYTES
            if body > end:
                break
            size: int = _SIZE.unpack_from(received, position)[0]
            if size < 0 or size > limit:
                refusal = refuse_frame(bytes(received[position:body]), limit)
                self._refuse(refusal.kind, refusal.reason, refusal.answer)
                return
            if body + size > end:
                self._begin_own_frame(size, received[body:], now_us)
                return
            position = body + size
            self._last_frame_large = False
            self._handle_frame(received[body:position], now_us)
            turn += 1
            if turn == _FRAMES_PER_TURN and position < end:
                self._held |= _TURN
                self._hub.timers.call_soon(self._next_turn)
        if position < end and not self._held & _CLOSING:
            self._stash = bytearray(received[position:])
            if not self._held:
                self._hub.half_frames[self] = now_us // 1000
        elif self in self._hub.half_frames:
            del self._hub.half_frames[self]

    def _begin_own_frame(self, size: int, head: memoryview, now_us: int) -> None:
        self._frame_buffer = self._hub.pool.acquire(size)
        self._frame = memoryview(self._frame_buffer)[:size]
        self._frame_received = len(head)
        self._frame[: len(head)] = head
        self._hub.half_frames.setdefault(self, now_us // 1000)
        if not self._hub.memory.received(self, len(head)):
            self._held |= _MEMORY

    def _handle_own_frame(self, now_us: int) -> None:
        frame = self._frame
        assert frame is not None
        if self._frame_received < len(frame):
            return
        self._last_frame_large = len(frame) >= LARGE_FRAME_BYTES
        buffer = self._frame_buffer
        assert buffer is not None
        self._frame = self._frame_buffer = None
        del self._hub.half_frames[self]
        self._handle_frame(frame, now_us)
        self._hub.memory.released(self, len(frame))
        self._hub.pool.release(buffer)

    def _drop_frame(self) -> None:
        """Forgets the frame being received, if any. Its buffer is not pooled: this is the end of a
        connection."""
        if self._frame is not None:
            self._frame = self._frame_buffer = None
            self._hub.memory.released(self, self._frame_received)

    def _handle_frame(self, frame: memoryview, now_us: int) -> None:
        try:
            answer = self._dispatcher.dispatch(frame, self.info, now_us)
        except Refused as refused:
            self._refuse(refused.kind, refused.reason)
            return
        if answer is not None:
            self._take(answer)
        if self.info.throttle_ms:
            self._throttle()

    def _take(self, answer: Answer) -> None:
        """Puts an answer in its place: into the next write, or behind the ones that wait."""
        if isinstance(answer, Later):
            if answer.buffers is None:
                answer.when_ready(self._schedule)
                self._waiting.append(answer)
                if not answer.pipelined:
                    self._held |= _ANSWER
                elif len(self._waiting) >= self._hub.settings.max_waiting_responses:
                    self._held |= _CROWDED
                return
            if answer.failed:
                self._refuse("failed-request", "a response could not be made")
                return
            answer = answer.buffers
        assert answer is not None
        size = sum(map(len, answer))
        if self._waiting:
            self._waiting.append(answer)
            self._waiting_bytes += size
            settings = self._hub.settings
            if (
                self._waiting_bytes >= settings.max_waiting_response_bytes
                or len(self._waiting) >= settings.max_waiting_responses
            ):
                self._held |= _CROWDED
            return
        self._out += answer
        self._out_bytes += size
        if self._out_bytes >= _WRITE_AT_BYTES:
            self._write()

    # From answers to bytes

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._hub.schedule(self)

    def advance(self) -> None:
        """Sends the answers whose turn has come, and goes on with what was held for them."""
        self._scheduled = False
        if self._closed:
            return
        waiting = self._waiting
        while waiting:
            answer = waiting[0]
            if isinstance(answer, Later):
                if answer.buffers is None:
                    break
                waiting.popleft()
                if answer.failed:
                    self._refuse("failed-request", "a response could not be made")
                    break
                self._out += answer.buffers
            else:
                waiting.popleft()
                self._waiting_bytes -= sum(map(len, answer))
                self._out += answer
        if self._out:
            self._write()
        if self.info.throttle_ms:
            self._throttle()
        freed = 0
        if not waiting:
            freed = _ANSWER | _CROWDED
            if self._held & _CLOSING:
                self._transport.close()
                return
        elif len(waiting) * 2 <= self._hub.settings.max_waiting_responses:
            freed = _CROWDED
        if self._held & freed:
            self._release(freed)

    def _write(self) -> None:
        out = self._out
        self._out = []
        self._out_bytes = 0
        if len(out) == 1:
            self._transport.write(out[0])
        else:
            self._transport.writelines(out)

    # Holding and going on

    def _next_turn(self) -> None:
        self._release(_TURN)

    def _release(self, reasons: int) -> None:
        """Takes reasons to hold away; when none is left, handles what is there and reads on."""
        self._held &= ~reasons
        if self._held or self._closed:
            return
        now_us = self._hub.clock.monotonic_us()
        if self in self._hub.half_frames:
            self._hub.half_frames[self] = now_us // 1000  # being held was not the peer's doing
        if self._frame is not None:
            self._handle_own_frame(now_us)
        elif self._stash:
            stash = self._stash
            self._stash = bytearray()
            self._handle(memoryview(stash), now_us)
        if self._out:
            self._write()
        if not self._held and not self._reading:
            self._reading = True
            self._transport.resume_reading()

    def memory_available(self) -> None:
        self._release(_MEMORY)

    def _throttle(self) -> None:
        delay_ms = self.info.throttle_ms
        self.info.throttle_ms = 0
        if not self._held & _THROTTLED:
            self._held |= _THROTTLED
            self._hub.timers.call_after_ms(delay_ms, lambda: self._release(_THROTTLED))

    # The end

    @property
    def peer(self) -> str:
        return f"{plain_host(self.info.peer_host)}:{self.info.peer_port}"

    def _refuse(self, kind: str, reason: str, answer: bytes = b"") -> None:
        """Closes for something the peer did. What was asked before is still answered."""
        if self._held & _CLOSING:
            return
        self._hub.events.connection_refused(kind, self.peer, reason)
        if answer:
            self._out.append(answer)
        self._close()

    def _close(self) -> None:
        self._held |= _CLOSING
        self._stash.clear()
        self._hub.half_frames.pop(self, None)
        if self._out:
            self._write()
        if not self._waiting:
            self._transport.close()

    def shut_down(self) -> None:
        """Takes no more requests, lets go of a parked one, and closes when the others are answered."""
        if self._waiting:
            last = self._waiting[-1]
            if isinstance(last, Later) and last.is_parked and last.buffers is None:
                self._waiting.pop()
                last.abandon()
        self._close()

    def abort(self) -> None:
        self._transport.abort()

    def check_frame_deadline(self, now_ms: int, begun_ms: int) -> None:
        """Refuses a frame that is not complete in time. Time in which we did not read does not count."""
        if self._held & ~_MEMORY:
            return
        settings = self._hub.settings
        received = self._frame_received if self._frame is not None else len(self._stash)
        allowed_ms = settings.frame_deadline_ms + received * 1000 // settings.frame_bytes_per_second
        if now_ms - begun_ms > allowed_ms:
            seconds = (now_ms - begun_ms) // 1000
            reason = f"a frame was not complete after {seconds} s and {received} bytes"
            self._refuse("frame-deadline", reason)

    def check_idle(self, now_ms: int) -> None:
        """Closes when nothing moved for `connections.max.idle.ms`, unless a request is waiting for its
        answer."""
        unsent = self._transport.get_write_buffer_size()
        if unsent != self._unsent_bytes:
            self._unsent_bytes = unsent
            self._last_active_ms = now_ms
        if now_ms - self._last_active_ms <= self._hub.settings.connections_max_idle_ms:
            return
        if unsent:
            self._hub.events.connection_refused("not-reading", self.peer, f"{unsent} bytes stay unread")
            self._transport.abort()
        elif not self._waiting:
            self._close()

    def statistics(self) -> dict[str, Any]:
        return {
            "peer": self.peer,
            "client": self.info.client_software_name,
            "waiting": len(self._waiting),
            "unsent_bytes": self._transport.get_write_buffer_size(),
            "held": self._held,
        }
