"""Where pybroker means to answer otherwise than Kafka, and why.

Short on purpose. An entry says exactly what is answered instead; what it says is as binding as what Kafka answered.
An entry that no exchange needs any more fails a test.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

from tests.oracle.compare import ABSENT, Difference


class _Anything:
    def __repr__(self) -> str:
        return "anything"


ANYTHING: Final = _Anything()
"""For what follows from another difference in the same exchange, such as later offsets."""


@dataclass(frozen=True, eq=False)
class Meant:
    """`exchange` and `path` are globs; `*` in a path goes over dots. `ours` is what we answer in that place."""

    exchange: str
    path: str
    ours: Any
    reason: str

    def covers(self, exchange: str, difference: Difference) -> bool:
        return (
            fnmatchcase(exchange, self.exchange)
            and fnmatchcase(difference.path, self.path)
            and (self.ours is ANYTHING or difference.ours == self.ours)
        )


_LATER_KEYS: Final = (
    17,
    *(34, 36, 48, 49, 50, 51),
    *(76, 77, 78, 79, 80, 81, 83, 84, 85, 86, 87, 88, 89, 90, 91, 92),
)
_LATER_FEATURES: Final = ("kraft", "share", "streams")

_NOT_YET: Final = (
    *(Meant("*", f"*.api_keys.{key}", ABSENT, "served by a later part of the project") for key in _LATER_KEYS),
    *(
        Meant("api-versions-*", f"*_features.{name}.version", ABSENT, "comes with the APIs it stands for")
        for name in _LATER_FEATURES
    ),
    *(
        Meant("describe-configs-client-metrics", path, answer, "client metrics (KIP-714) are not served")
        for path, answer in (("*.error_code", 42), ("*.configs.*", ABSENT))
    ),
    Meant("list-config-resources-loggers", "0.answer.config_resources.0", ABSENT, "there are no loggers to configure"),
    Meant("list-config-resources-all", "0.answer.config_resources.*", ANYTHING, "the same, in the list of all"),
)

_OWN_CONFIGS: Final = (
    *(
        Meant("*", f"*.configs.{name}", ANYTHING, "our own topic config")
        for name in ("durability", "message.format.validation")
    ),
    *(
        Meant(
            "*", f"*.configs.min.insync.replicas.{path}", answer, "Kafka writes its default into the cluster (KIP-966)"
        )
        for path, answer in (("config_source", 5), ("synonyms.0.source", 5), ("synonyms.1", ABSENT))
    ),
    *(
        Meant("describe-configs-broker", f"*.configs.max.connections.{path}", "10000", "limited from the start")
        for path in ("value", "synonyms.0.value")
    ),
    Meant("describe-configs-broker-default-all", "*.configs.min.insync.replicas", ABSENT, "the same"),
    Meant("create-topics-config-boolean-in-capitals", "*.preallocate.value", "true", "values are kept in one spelling"),
    Meant("create-topics-config-number-with-*", "*.retention.ms.value", "1000", "values are kept in one spelling"),
)

_BETTER_CODES: Final = (
    *(
        Meant(exchange, path, 42, "INVALID_REQUEST where Kafka fails with UNKNOWN_SERVER_ERROR")
        for exchange, path in (
            ("metadata-by-zero-id", "0.answer.topics.0.error_code"),
            ("fetch-partition-max-bytes-negative", "*.error_code"),
            ("fetch-max-bytes-negative", "*.error_code"),
            ("fetch-isolation-*", "*.error_code"),
            ("list-offsets-isolation-unknown", "*.error_code"),
            ("incremental-alter-*-operation", "*.error_code"),
            ("markers-producer-id-minus-one", "*.error_code"),
            ("markers-epoch-minus-one", "*.error_code"),
            ("group-config-unknown-operation", "*.error_code"),
        )
    ),
    Meant(
        "classic-member-enters-with-a-malformed-subscription",
        "1.answer.error_code",
        23,
        "INCONSISTENT_GROUP_PROTOCOL where Kafka fails with UNKNOWN_SERVER_ERROR",
    ),
    Meant("incremental-alter-*-operation", "*.error_message", "<text>", "the same, with a reason"),
    Meant("group-config-unknown-operation", "*.error_message", "<text>", "the same, with a reason"),
    Meant("create-partitions-a-billion", "*.error_code", 44, "POLICY_VIOLATION where Kafka runs out of memory"),
    Meant("create-partitions-a-billion", "*.error_message", "<text>", "the same, with a reason"),
    Meant("alter-configs-same-topic-twice", "0.*", ANYTHING, "refused, where Kafka never answers"),
    *(
        Meant(exchange, "*.error_message", "<text>", "a reason where Kafka gives none")
        for exchange in (
            "describe-producers-*-partition",
            "batch-length-48",
        )
    ),
)

_STRICTER: Final = (
    Meant("create-topics-config-dirty-ratio-nan", "0.*", ANYTHING, "NaN is no number: INVALID_CONFIG"),
    Meant("create-topics-name-collides-in-one-request", "0.answer.topics.*", ANYTHING, "refused there as well"),
    Meant("incremental-alter-broker-unknown", "*.error_code", 40, "an unknown key is an error"),
    Meant("incremental-alter-broker-unknown", "*.error_message", "<text>", "the same"),
    Meant(
        "frame-client-id-length-minus-two", "0.outcome", "closed", "bytes that no client sends are refused by closing"
    ),
    *(
        Meant(exchange, path, ANYTHING, "bytes that no client sends are refused by closing")
        for exchange in (
            "frame-count-negative",
            "frame-count-minus-two",
            "frame-compact-count-five-bytes-long",
            "frame-string-not-utf8",
            "frame-tagged-fields-out-of-order",
            "frame-tagged-field-twice",
        )
        for path in ("0.outcome", "0.answer")
    ),
)

_KINDER: Final = (
    *(
        Meant(
            "join-group-protocol-named-twice", f"0.{path}", ANYTHING, "the last one counts, where Kafka never answers"
        )
        for path in ("outcome", "answer")
    ),
    Meant("create-topics-timeout-zero", "0.answer.topics.*", ANYTHING, "what was done is not called timed out"),
    Meant("incremental-alter-append-empty", "*", ANYTHING, "appending nothing changes nothing"),
    Meant("list-offsets-current-epoch-minus-two", "*", ANYTHING, "a negative epoch skips the check, as in Fetch"),
    Meant("leader-epoch-current-minus-two", "*", ANYTHING, "a negative epoch skips the check, as in Fetch"),
)

_BATCHES: Final = (
    *(
        Meant(f"batch-{name}", "*", ANYTHING, "compressed bodies are opaque unless message.format.validation asks (D2)")
        for name in (
            "count-and-delta-too-large-gzip",
            "record-offset-deltas-with-a-gap-gzip",
            "header-with-null-key-gzip",
            "gzip-garbage",
            "gzip-of-garbage",
            "gzip-cut-short",
            "snappy-garbage",
            "lz4-garbage",
            "zstd-garbage",
        )
    ),
    *(
        Meant(f"batch-{name}", f"0.*.{field}", answer, "CORRUPT_MESSAGE where Kafka fails with UNKNOWN_SERVER_ERROR")
        for name in ("codec-?", "gzip-empty-body", "gzip-garbage-recompressed", "gzip-garbage-compacted")
        for field, answer in (("error_code", 2), ("log_start_offset", -1))
    ),
    Meant("batch-body-is-garbage", "0.*.error_code", 87, "INVALID_RECORD where Kafka fails with UNKNOWN_SERVER_ERROR"),
    *(
        Meant(
            f"produce-timestamp-{name}", "1.*.max_timestamp", answer, "the header's largest timestamp is trusted (D2)"
        )
        for name, answer in (("max-lies", 999_999), ("max-missing", -1), ("minus-two", -2))
    ),
    Meant("batch-null-records", "0.*", ANYTHING, "INVALID_RECORD, where Kafka never answers"),
)

_GROUPS: Final = (
    Meant(
        "offset-fetch-consumer-group-as-nobody-with-epoch",
        "*.groups.0.error_code",
        25,
        "UNKNOWN_MEMBER_ID where Kafka fails with UNKNOWN_SERVER_ERROR",
    ),
    Meant(
        "group-is-upgraded-before-its-assignment",
        "*.topic_partitions.0.partitions.0",
        ANYTHING,
        "which of two equal members gets which of two equal partitions",
    ),
)

_FETCH: Final = (Meant("fetch-*", "*.records.1", ABSENT, "no batch is sent in part: some clients trip over it"),)

MEANT: Final[tuple[Meant, ...]] = (
    *_NOT_YET,
    *_OWN_CONFIGS,
    *_BETTER_CODES,
    *_STRICTER,
    *_KINDER,
    *_BATCHES,
    *_GROUPS,
    *_FETCH,
)


CLUSTER_MEANT: Final = (
    Meant("features-lower", "0.answer.error_code", 95, "every feature is served at one level, that of Kafka 4.3"),
    Meant("features-lower", "0.answer.error_message", "<text>", "the same"),
)
"""The same for the catalogue of three brokers."""


def unmeant(
    exchange: str,
    found: Iterable[Difference],
    used: set[Meant] | None = None,
    *,
    meant: Sequence[Meant] = MEANT,
) -> list[Difference]:
    """The differences that nobody meant. Entries that covered one are added to `used`."""
    left = []
    for difference in found:
        covering = [entry for entry in meant if entry.covers(exchange, difference)]
        if used is not None:
            used.update(covering)
        if not covering:
            left.append(difference)
    return left
