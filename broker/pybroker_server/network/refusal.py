"""Bytes that are not a Kafka frame: what they are, and what the peer is told.

Rules of this file: pure. It is only asked about the first four bytes of a frame that cannot be one (a
negative size, or one over `socket.request.max.bytes`), so it costs nothing on a good connection. Kafka
closes such connections with a size in its log that nobody recognises; we name the protocol.
"""

from __future__ import annotations

from dataclasses import dataclass

_HTTP_METHODS = (b"GET ", b"HEAD", b"POST", b"PUT ", b"DELE", b"OPTI", b"PATC", b"TRAC", b"CONN", b"PRI ")
_HTTP_BODY = b"This port speaks the Apache Kafka protocol, not HTTP.\n"
_HTTP_ANSWER = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(_HTTP_BODY), _HTTP_BODY)
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """`kind` is short and stable (a metric label, a key for rate limits), `reason` is for the log."""

    kind: str
    reason: str
    answer: bytes = b""
    """Sent before the connection closes: only to those who will show it to a human."""


def refuse_frame(prefix: bytes, max_size_bytes: int) -> Refusal:
    """Why the four bytes of `prefix` cannot be the size of a frame."""
    if prefix in _HTTP_METHODS:
        reason = "the peer speaks HTTP: this port speaks the Kafka protocol"
        return Refusal("http", reason, _HTTP_ANSWER)
    if prefix == b"SSH-":
        return Refusal("ssh", "the peer speaks SSH: this port speaks the Kafka protocol")
    if prefix[:2] == b"\x16\x03":
        reason = "the peer speaks TLS, this listener does not: set the client's security.protocol=PLAINTEXT"
        return Refusal("tls", reason)
    size = int.from_bytes(prefix, "big", signed=True)
    if size < 0:
        return Refusal("negative-size", f"a frame claims a size of {size} bytes")
    reason = f"a frame claims {size} bytes, more than socket.request.max.bytes={max_size_bytes}"
    return Refusal("oversized-frame", reason)
