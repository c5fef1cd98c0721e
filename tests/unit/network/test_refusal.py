"""Other protocols on the Kafka port are named (reliability 5a: the four bytes read as a size)."""

from __future__ import annotations

import pytest

from pybroker_server.network.refusal import refuse_frame

LIMIT = 100 * 1024 * 1024


@pytest.mark.parametrize("method", [b"GET ", b"POST", b"HEAD", b"PUT ", b"DELE", b"OPTI", b"PATC", b"CONN", b"PRI "])
def test_http_is_told_so_in_http(method: bytes) -> None:
    refusal = refuse_frame(method, LIMIT)
    assert refusal.kind == "http"
    head, _, body = refusal.answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert f"Content-Length: {len(body)}".encode() in head
    assert body.count(b"\n") == 1


def test_ssh_and_tls_are_named_and_get_no_answer() -> None:
    ssh, tls = refuse_frame(b"SSH-", LIMIT), refuse_frame(b"\x16\x03\x01\x02", LIMIT)
    assert (ssh.kind, ssh.answer) == ("ssh", b"")
    assert (tls.kind, tls.answer) == ("tls", b"")
    assert "security.protocol" in tls.reason


def test_sizes_that_no_frame_has() -> None:
    assert refuse_frame(b"\xff\xff\xff\xff", LIMIT).kind == "negative-size"
    oversized = refuse_frame((LIMIT + 1).to_bytes(4, "big"), LIMIT)
    assert oversized.kind == "oversized-frame"
    assert str(LIMIT + 1) in oversized.reason
    assert "socket.request.max.bytes" in oversized.reason
