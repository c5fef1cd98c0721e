"""The small files of a log directory and of a partition's directory, in Kafka's formats.

Rules of this file: pure; bytes in, values out and back. Who writes them and when is `manager.py`'s and
`flusher.py`'s affair; all are written atomically (`Disk.write_atomic`). A file that cannot be read raises
CheckpointCorrupt and is treated as absent by its reader: each says less than the log itself.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

RECOVERY_POINTS = "recovery-point-offset-checkpoint"
HIGH_WATERMARKS = "replication-offset-checkpoint"
LOG_START_OFFSETS = "log-start-offset-checkpoint"
CLEANED_OFFSETS = "cleaner-offset-checkpoint"
LEADER_EPOCHS = "leader-epoch-checkpoint"
PARTITION_METADATA = "partition.metadata"
META_PROPERTIES = "meta.properties"
CLEAN_SHUTDOWN = ".kafka_cleanshutdown"
LOCK = ".lock"

TopicPartition = tuple[str, int]

_VERSION = 0
_ID_BYTES = 16


class CheckpointCorrupt(Exception):
    """A checkpoint file is damaged, empty or of an unknown version."""


def format_checkpoint(lines: Sequence[str]) -> bytes:
    """Version 0, the number of lines, the lines."""
    return "".join(f"{line}\n" for line in (str(_VERSION), str(len(lines)), *lines)).encode()


def parse_checkpoint(data: bytes, fields: int) -> list[list[str]]:
    """The lines of a checkpoint, each split into `fields` parts (a topic's name holds no space)."""
    try:
        lines = data.decode().splitlines()
    except UnicodeDecodeError as error:
        raise CheckpointCorrupt(str(error)) from None
    if len(lines) < 2 or lines[0] != str(_VERSION):
        raise CheckpointCorrupt("no version and count at its head")
    if lines[1] != str(len(lines) - 2):
        raise CheckpointCorrupt(f"promises {lines[1][:20]!r} lines, has {len(lines) - 2}")
    split = [line.split(" ") for line in lines[2:]]
    for line in split:
        if len(line) != fields:
            raise CheckpointCorrupt(f"{fields} fields expected: {line}")
    return split


def format_offsets(offsets: Mapping[TopicPartition, int]) -> bytes:
    """`topic partition offset` for each."""
    return format_checkpoint([f"{t} {p} {offset}" for (t, p), offset in sorted(offsets.items())])


def parse_offsets(data: bytes) -> dict[TopicPartition, int]:
    offsets: dict[TopicPartition, int] = {}
    for topic, partition, offset in parse_checkpoint(data, 3):
        try:
            offsets[topic, int(partition)] = int(offset)
        except ValueError:
            raise CheckpointCorrupt(f"no numbers: {topic} {partition} {offset}") from None
    return offsets


def format_uuid(value: UUID) -> str:
    """Kafka's way: 22 characters of URL-safe base 64."""
    return base64.urlsafe_b64encode(value.bytes).rstrip(b"=").decode()


def parse_uuid(text: str) -> UUID:
    try:
        raw = base64.urlsafe_b64decode(text + "==")
    except (binascii.Error, ValueError):
        raise CheckpointCorrupt(f"not an id: {text!r}") from None
    if len(raw) != _ID_BYTES:
        raise CheckpointCorrupt(f"not an id: {text!r}")
    return UUID(bytes=raw)


def format_partition_metadata(topic_id: UUID) -> bytes:
    return f"version: {_VERSION}\ntopic_id: {format_uuid(topic_id)}".encode()


def parse_partition_metadata(data: bytes) -> UUID:
    """The topic id that a partition's directory belongs to."""
    values = _properties(data, ":")
    if values.get("version") != str(_VERSION) or "topic_id" not in values:
        raise CheckpointCorrupt("no version 0 or no topic_id")
    return parse_uuid(values["topic_id"])


@dataclass(frozen=True, slots=True)
class MetaProperties:
    """`meta.properties`: whose directory this is. It is refused to any other cluster or node."""

    cluster_id: str
    node_id: int
    directory_id: UUID

    def to_bytes(self) -> bytes:
        lines = {
            "version": "1",
            "cluster.id": self.cluster_id,
            "node.id": str(self.node_id),
            "directory.id": format_uuid(self.directory_id),
        }
        return "".join(f"{key}={value}\n" for key, value in lines.items()).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> MetaProperties:
        values = _properties(data, "=")
        try:
            if values["version"] != "1":
                raise CheckpointCorrupt(f"version {values['version']} is not known")
            directory_id = parse_uuid(values["directory.id"])
            return cls(values["cluster.id"], int(values["node.id"]), directory_id)
        except (KeyError, ValueError) as error:
            raise CheckpointCorrupt(f"missing or no number: {error}") from None


def format_clean_shutdown(broker_epoch: int) -> bytes:
    return json.dumps({"version": _VERSION, "brokerEpoch": broker_epoch}, separators=(",", ":")).encode()


def parse_clean_shutdown(data: bytes) -> int:
    """The broker epoch of the life that ended cleanly; -1 when the file says none (it was an older Kafka's)."""
    try:
        return int(json.loads(data)["brokerEpoch"])
    except (ValueError, KeyError, TypeError):
        return -1


def _properties(data: bytes, separator: str) -> dict[str, str]:
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise CheckpointCorrupt(str(error)) from None
    values: dict[str, str] = {}
    for line in text.splitlines():
        line = line.strip()
        if line and not line.startswith("#"):
            key, found, value = line.partition(separator)
            if not found:
                raise CheckpointCorrupt(f"not a property: {line!r}")
            values[key.strip()] = value.strip()
    return values
