"""How soon a broker is of use: from the start of its process to its first answer to a Metadata request."""

from __future__ import annotations

import contextlib
import socket
import struct
import subprocess
import time
from pathlib import Path
from typing import Final

from pybroker_bench.errors import BenchError
from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ProtocolError
from pybroker_protocol.frame import decode_response, encode_request
from pybroker_protocol.messages import MetadataRequest

START_S: Final = 60.0
_VERSION: Final = 12
_POLL_S: Final = 0.005


def wait_for_metadata(port: int, process: subprocess.Popen[bytes], log: Path, brokers: int = 1) -> float:
    """Seconds from now until the broker on `port` of this machine names itself, and the others, in an answer.

    Raises BenchError with its last words when it ends, or takes too long.
    """
    started = time.perf_counter()
    while time.perf_counter() - started < START_S:
        if process.poll() is not None:
            raise BenchError("the broker ended before it answered", cause=_last_words(log))
        with contextlib.suppress(OSError, ProtocolError, struct.error):
            if _brokers(port) >= brokers:
                return time.perf_counter() - started
        time.sleep(_POLL_S)
    raise BenchError(f"the broker did not answer within {START_S:.0f} s", cause=_last_words(log))


def _brokers(port: int) -> int:
    """How many brokers its answer names."""
    frame = b"".join(encode_request(ApiKey.METADATA, _VERSION, 1, "bench", MetadataRequest(topics=[])))
    with socket.create_connection(("127.0.0.1", port), 1.0) as connection:
        connection.settimeout(2.0)
        connection.sendall(frame)
        with connection.makefile("rb") as answers:
            (size,) = struct.unpack(">i", answers.read(4))
            _, answer = decode_response(ApiKey.METADATA, _VERSION, memoryview(answers.read(size)))
    return len(answer.brokers)


def _last_words(log: Path) -> str:
    return log.read_text(errors="replace")[-1500:]
