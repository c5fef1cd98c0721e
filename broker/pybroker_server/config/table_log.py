"""Broker keys of the log: where it lies, how it rolls, what is kept, when it is flushed and compacted.

The notation is that of `notation.py`.
"""

TABLE = """
log.dirs | list | - | some+() | read-only
    Directories that hold partitions; a new partition goes to the emptiest. Unset: `log.dir`.
log.dir | list | ~/.local/share/pybroker | some+() | read-only
    The one directory that holds partitions, when `log.dirs` is not set; `~` is the home directory.
cordoned.log.dirs | list | '' | - | per-broker
    Log directories that get no new partitions while they are emptied; `*` means all of them.
num.partitions | int | 1 | 1.. | read-only
    Partitions of a topic that is created without saying how many.
num.recovery.threads.per.data.dir | int | 2 | 1.. | cluster-wide
    Threads per log directory that load and recover logs at start-up.
log.segment.bytes | int | 1073741824 | 1048576.. | cluster-wide
    A segment file is closed and the next one begun before it would grow past this size.
log.roll.ms | long | - | - | cluster-wide
    Age at which the active segment is closed even though it is not full; wins over `log.roll.hours`.
log.roll.hours | int | 168 | 1.. | read-only
    Age in hours at which the active segment is closed even though it is not full.
log.roll.jitter.ms | long | - | - | cluster-wide
    At most this much is taken, at random, off the rolling age, so that logs do not roll all at once.
log.roll.jitter.hours | int | 0 | 0.. | read-only
    The same as `log.roll.jitter.ms`, in hours; read when that key is not set.
log.retention.ms | long | - | - | cluster-wide
    Age at which a closed segment may be deleted; -1 keeps it for ever. Wins over minutes and hours.
log.retention.minutes | int | - | - | read-only
    The same as `log.retention.ms`, in minutes; read when that key is not set.
log.retention.hours | int | 168 | - | read-only
    The same as `log.retention.ms`, in hours; read when neither that key nor the minutes are set.
log.retention.bytes | long | -1 | - | cluster-wide
    Size of a partition above which its oldest segments may be deleted; -1 sets no limit.
log.retention.check.interval.ms | long | 300000 | 1.. | read-only
    How often logs are looked at for segments that retention may delete.
log.cleanup.policy | list | delete | some(compact,delete) | cluster-wide
    What happens to old segments: `delete`, `compact`, both, or neither when empty.
log.index.size.max.bytes | int | 10485760 | 4.. | cluster-wide
    Largest size of an offset or time index file; a full index closes its segment.
log.index.interval.bytes | int | 4096 | 0.. | cluster-wide
    About how many bytes of log lie between two entries of the offset index.
log.flush.interval.messages | long | 9223372036854775807 | 1.. | cluster-wide
    Records that may gather in a log before a flush to the device is forced.
log.segment.delete.delay.ms | long | 60000 | 0.. | cluster-wide
    How long the files of a deleted segment stay, renamed, before they are removed.
log.flush.scheduler.interval.ms | long | 9223372036854775807 | - | read-only
    How often the background flusher looks for logs whose `log.flush.interval.ms` has passed.
log.flush.interval.ms | long | - | - | cluster-wide
    Longest time that a record waits in memory before a flush; unset: the scheduler's interval.
log.flush.offset.checkpoint.interval.ms | int | 60000 | 0.. | read-only
    How often the offset up to which each log is known to be flushed is written down.
log.flush.start.offset.checkpoint.interval.ms | int | 60000 | 0.. | read-only
    How often the first offset of each log is written down.
log.preallocate | boolean | false | - | cluster-wide
    Kafka reserves the whole segment file when it is created; accepted without effect.
log.initial.task.delay.ms | long | 30000 | 0.. | read-only | internal
    Wait after start-up before the first periodic task over the logs runs.
log.dir.failure.timeout.ms | long | 30000 | 1.. | read-only
    A broker stops itself when it could not report a failed log directory for this long.
log.message.timestamp.type | string | CreateTime | one(CreateTime,LogAppendTime) | cluster-wide
    Which time a record carries: the producer's (`CreateTime`) or the broker's (`LogAppendTime`).
log.message.timestamp.before.max.ms | long | 9223372036854775807 | 0.. | cluster-wide
    A record may be at most this much older than the broker's clock when it is produced.
log.message.timestamp.after.max.ms | long | 3600000 | 0.. | cluster-wide
    A record may be at most this much ahead of the broker's clock when it is produced.
log.cleaner.enable | boolean | true | - | read-only
    Whether compacted topics are compacted at all.
log.cleaner.threads | int | 1 | 0.. | cluster-wide
    Logs that are compacted at the same time.
log.cleaner.io.max.bytes.per.second | double | 1.7976931348623157E308 | - | cluster-wide
    Limit on what compaction reads and writes together, in bytes per second.
log.cleaner.dedupe.buffer.size | long | 134217728 | - | cluster-wide
    Memory for the table of keys of a compaction pass, all cleaners together, in bytes.
log.cleaner.io.buffer.size | int | 524288 | 0.. | cluster-wide
    Memory for reading and writing during compaction, all cleaners together, in bytes.
log.cleaner.io.buffer.load.factor | double | 0.9 | - | cluster-wide
    How full the table of keys may become before a compaction pass ends early.
log.cleaner.backoff.ms | long | 15000 | 0.. | cluster-wide
    Wait before looking again when no log needed compaction.
log.cleaner.min.cleanable.ratio | double | 0.5 | 0..1 | cluster-wide
    A log is compacted once this share of it was written since the last compaction.
log.cleaner.delete.retention.ms | long | 86400000 | 0.. | cluster-wide
    How long a tombstone stays readable after the compaction that found it.
log.cleaner.min.compaction.lag.ms | long | 0 | 0.. | cluster-wide
    A record younger than this is never compacted away.
log.cleaner.max.compaction.lag.ms | long | 9223372036854775807 | 1.. | cluster-wide
    A record older than this is compacted even when the log is not dirty enough yet.
compression.type | string | producer | one(uncompressed,zstd,lz4,snappy,gzip,producer) | cluster-wide
    Codec that stored batches have: `producer` leaves them as they came, others recompress them.
compression.gzip.level | int | -1 | 1..9|-1 | cluster-wide
    Level used when the broker itself compresses with gzip; -1 is the library's own.
compression.lz4.level | int | 9 | 1..17 | cluster-wide
    Level used when the broker itself compresses with lz4.
compression.zstd.level | int | 3 | -131072..22 | cluster-wide
    Level used when the broker itself compresses with zstd.
message.max.bytes | int | 1048588 | 0.. | cluster-wide
    The largest record batch, as compressed by the producer, that is accepted.
min.insync.replicas | int | 1 | 1.. | cluster-wide
    With acks=all a write needs at least this many in-sync replicas, the leader counted.
unclean.leader.election.enable | boolean | false | - | cluster-wide
    Elect a replica that is not in sync when no other is left, at the price of lost records.
unclean.leader.election.interval.ms | long | 300000 | 1.. | read-only | internal
    How often partitions without a leader are looked at for an unclean election.
auto.create.topics.enable | boolean | true | - | read-only
    Create a topic when a client that allows it asks for one that does not exist.
delete.topic.enable | boolean | true | - | read-only
    Whether clients may delete topics.
create.topic.policy.class.name | class | - | - | read-only
    Java class that may refuse new topics.
alter.config.policy.class.name | class | - | - | read-only
    Java class that may refuse changes of configuration.
producer.id.expiration.ms | int | 86400000 | 1.. | cluster-wide
    A partition forgets an idempotent producer that wrote nothing for this long.
producer.id.expiration.check.interval.ms | int | 600000 | 1.. | read-only | internal
    How often producers that may be forgotten are looked for.
log.local.retention.ms | long | -2 | -2.. | cluster-wide
    Age at which segments that are in remote storage leave the local disk; -2: `log.retention.ms`.
log.local.retention.bytes | long | -2 | -2.. | cluster-wide
    Local size above which segments in remote storage leave the disk; -2: `log.retention.bytes`.
message.format.validation | string | header | one(header,full) | read-only
    `header`: the CRC and the header of a produced batch are checked. `full`: every record in it as well.
durability | string | fsync | one(fsync,page-cache) | read-only
    `fsync`: what acks=all acknowledges is on the device. `page-cache`: Kafka's own trade, in memory only.
"""
