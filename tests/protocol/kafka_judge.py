"""Has Kafka's own classes read and rewrite our bytes: every message, every version, every kind of sample.

    python -m tests.protocol.kafka_judge DIRECTORY_OF_JARS

Needs Java 17 and a directory with Kafka's jars. Prints what came back different. With `--write` the digests of what
Kafka confirmed are kept in `confirmed_digests.txt`, which `test_confirmed_digests.py` compares without Java.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.support.schema_values import SAMPLES, message_versions, sample

from pybroker_protocol import messages
from pybroker_protocol.codec import encode

DIGESTS = Path(__file__).with_name("confirmed_digests.txt")
_JUDGE = Path(__file__).with_name("KafkaJudge.java")
_COMMON = "org.apache.kafka.common.message."
_COORDINATORS = "org.apache.kafka.coordinator."


def wires() -> Iterator[tuple[str, int, str, bytes]]:
    """(message name, version, sample, bytes) of everything that is judged."""
    for name, version in message_versions():
        message_class = getattr(messages, name)
        for kind in SAMPLES:
            yield name, version, kind, b"".join(encode(sample(message_class, version, kind), version))


def digest_lines() -> list[str]:
    """One line for each message and version: the digest of all its samples."""
    digests: dict[tuple[str, int], hashlib._Hash] = {}
    for name, version, _, wire in wires():
        digests.setdefault((name, version), hashlib.sha256()).update(len(wire).to_bytes(4, "big") + wire)
    return [f"{name} {version} {digest.hexdigest()[:16]}" for (name, version), digest in digests.items()]


def _class_name(name: str) -> str:
    if name.endswith(("Request", "Response")):
        return f"{_COMMON}{name}Data"
    if name.startswith("TransactionLog"):
        return f"{_COORDINATORS}transaction.generated.{name}"
    if name.endswith(("Key", "Value")):
        return f"{_COORDINATORS}group.generated.{name}"
    return f"{_COMMON}{name}"


def main(arguments: list[str]) -> int:
    write = "--write" in arguments
    directories = [argument for argument in arguments if argument != "--write"]
    if len(directories) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    lines = [f"{_class_name(name)} {version} {wire.hex()}" for name, version, _, wire in wires()]
    command = ["java", "-cp", f"{directories[0]}/*", str(_JUDGE)]
    judged = subprocess.run(command, input="\n".join(lines) + "\n", capture_output=True, text=True, check=False)
    print(judged.stdout, end="")
    if judged.returncode:
        print(judged.stderr, file=sys.stderr)
        return judged.returncode
    print(f"{len(lines)} encodings judged, {len(judged.stdout.splitlines())} different", file=sys.stderr)
    if judged.stdout:
        return 1
    if write:
        DIGESTS.write_text("\n".join(digest_lines()) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
