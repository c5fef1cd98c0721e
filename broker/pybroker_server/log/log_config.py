"""What one partition's log needs to know of its topic's configuration.

Rules of this file: one frozen value with Kafka's names and defaults (dots become underscores). Where the values
come from (topic overrides, broker defaults) is decided in `config/`. A log is handed a new value when its
topic's configuration changes; nobody changes one in place.
"""

from __future__ import annotations

from dataclasses import dataclass

LONG_MAX = (1 << 63) - 1
CREATE_TIME = "CreateTime"
LOG_APPEND_TIME = "LogAppendTime"
PRODUCER_CODEC = "producer"
DELETE = "delete"
COMPACT = "compact"
FSYNC = "fsync"
PAGE_CACHE = "page-cache"


@dataclass(frozen=True, slots=True)
class LogConfig:
    """Topic configuration, sizes in bytes and times in milliseconds. -1 means no limit where Kafka says so."""

    segment_bytes: int = 1 << 30
    segment_ms: int = 7 * 24 * 3600 * 1000
    segment_jitter_ms: int = 0
    segment_index_bytes: int = 10 * 1024 * 1024
    index_interval_bytes: int = 4096
    retention_ms: int = 7 * 24 * 3600 * 1000
    retention_bytes: int = -1
    max_message_bytes: int = 1048588
    flush_messages: int = LONG_MAX
    flush_ms: int = LONG_MAX
    cleanup_policy: frozenset[str] = frozenset({DELETE})
    delete_retention_ms: int = 24 * 3600 * 1000
    min_compaction_lag_ms: int = 0
    max_compaction_lag_ms: int = LONG_MAX
    min_cleanable_dirty_ratio: float = 0.5
    compression_type: str = PRODUCER_CODEC
    compression_gzip_level: int = -1
    compression_lz4_level: int = 9
    compression_zstd_level: int = 3
    message_timestamp_type: str = CREATE_TIME
    message_timestamp_before_max_ms: int = LONG_MAX
    message_timestamp_after_max_ms: int = 3600 * 1000
    file_delete_delay_ms: int = 60 * 1000
    min_insync_replicas: int = 1
    unclean_leader_election_enable: bool = False
    preallocate: bool = False
    """Accepted and without effect: a file that is longer than its data would need a scan after every stop."""
    durability: str = FSYNC
    producer_id_expiration_ms: int = 24 * 3600 * 1000
    """The broker's `producer.id.expiration.ms`: how long an idle producer is remembered."""
    transaction_partition_verification_enable: bool = False
    """The broker's: the first batch of a transaction is appended only with its coordinator's consent (KIP-890)."""
    validate_records: bool = False
    """Look at every record of every batch before it is stored (design D2: off the default path)."""

    @property
    def roll_ms(self) -> int:
        """How long a segment may grow: a compacted one no longer than it may stay uncompacted (KIP-354)."""
        return min(self.segment_ms, self.max_compaction_lag_ms) if self.is_compacted else self.segment_ms

    @property
    def is_compacted(self) -> bool:
        return COMPACT in self.cleanup_policy

    @property
    def is_deleted_by_retention(self) -> bool:
        """Retention by time and size applies; a topic with `compact` alone keeps its segments (KIP-71)."""
        return DELETE in self.cleanup_policy

    @property
    def is_durable(self) -> bool:
        """Acknowledged means flushed (design D7); otherwise written to the page cache, as Kafka does."""
        return self.durability == FSYNC
