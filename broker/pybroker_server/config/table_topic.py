"""Topic keys.

The notation is that of `notation.py`.
"""

TABLE = """
segment.bytes | int | 1073741824 | 1048576.. | topic | from=log.segment.bytes
    A segment file is closed and the next one begun before it would grow past this size.
segment.ms | long | 604800000 | 1.. | topic | from=log.roll.ms,log.roll.hours*3600000
    Age at which the active segment is closed even though it is not full.
segment.jitter.ms | long | 0 | 0.. | topic | from=log.roll.jitter.ms,log.roll.jitter.hours*3600000
    At most this much is taken, at random, off `segment.ms`, so that partitions do not roll all at once.
segment.index.bytes | int | 10485760 | 4.. | topic | from=log.index.size.max.bytes
    Largest size of an offset or time index file; a full index closes its segment.
flush.messages | long | 9223372036854775807 | 1.. | topic | from=log.flush.interval.messages
    Records that may gather before a flush to the device is forced, whatever `durability` says.
flush.ms | long | 9223372036854775807 | 0.. | topic \
| from=log.flush.interval.ms,log.flush.scheduler.interval.ms
    Longest time that a record waits before a flush to the device is forced.
retention.bytes | long | -1 | - | topic | from=log.retention.bytes
    Size of a partition above which its oldest segments may be deleted; -1 sets no limit.
retention.ms | long | 604800000 | -1.. | topic \
| from=log.retention.ms,log.retention.minutes*60000,log.retention.hours*3600000
    Age at which a closed segment may be deleted; -1 keeps it for ever.
max.message.bytes | int | 1048588 | 0.. | topic | from=message.max.bytes
    The largest record batch, as compressed by the producer, that is accepted.
index.interval.bytes | int | 4096 | 0.. | topic | from=log.index.interval.bytes
    About how many bytes of log lie between two entries of the offset index.
delete.retention.ms | long | 86400000 | 0.. | topic | from=log.cleaner.delete.retention.ms
    How long a tombstone stays readable after the compaction that found it.
min.compaction.lag.ms | long | 0 | 0.. | topic | from=log.cleaner.min.compaction.lag.ms
    A record younger than this is never compacted away.
max.compaction.lag.ms | long | 9223372036854775807 | 1.. | topic | from=log.cleaner.max.compaction.lag.ms
    A record older than this is compacted even when the log is not dirty enough yet.
file.delete.delay.ms | long | 60000 | 0.. | topic | from=log.segment.delete.delay.ms
    How long the files of a deleted segment stay, renamed, before they are removed.
min.cleanable.dirty.ratio | double | 0.5 | 0..1 | topic | from=log.cleaner.min.cleanable.ratio
    The log is compacted once this share of it was written since the last compaction.
cleanup.policy | list | delete | some(compact,delete) | topic | from=log.cleanup.policy
    What happens to old segments: `delete`, `compact`, both, or neither when empty.
unclean.leader.election.enable | boolean | false | - | topic | from=unclean.leader.election.enable
    Elect a replica that is not in sync when no other is left, at the price of lost records.
min.insync.replicas | int | 1 | 1.. | topic | from=min.insync.replicas
    With acks=all a write needs at least this many in-sync replicas, the leader counted.
compression.type | string | producer | one(uncompressed,zstd,lz4,snappy,gzip,producer) | topic \
| from=compression.type
    Codec that stored batches have: `producer` leaves them as they came, others recompress them.
compression.gzip.level | int | -1 | 1..9|-1 | topic | from=compression.gzip.level
    Level used when the broker itself compresses with gzip; -1 is the library's own.
compression.lz4.level | int | 9 | 1..17 | topic | from=compression.lz4.level
    Level used when the broker itself compresses with lz4.
compression.zstd.level | int | 3 | -131072..22 | topic | from=compression.zstd.level
    Level used when the broker itself compresses with zstd.
preallocate | boolean | false | - | topic | from=log.preallocate
    Kafka reserves the whole segment file when it is created; accepted without effect.
message.timestamp.type | string | CreateTime | one(CreateTime,LogAppendTime) | topic \
| from=log.message.timestamp.type
    Which time a record carries: the producer's (`CreateTime`) or the broker's (`LogAppendTime`).
message.timestamp.before.max.ms | long | 9223372036854775807 | 0.. | topic \
| from=log.message.timestamp.before.max.ms
    A record may be at most this much older than the broker's clock when it is produced.
message.timestamp.after.max.ms | long | 3600000 | 0.. | topic | from=log.message.timestamp.after.max.ms
    A record may be at most this much ahead of the broker's clock when it is produced.
leader.replication.throttled.replicas | list | '' | throttle | topic
    Replicas throttled on the leader's side while they are not in sync, as `partition:broker` pairs or `*`.
follower.replication.throttled.replicas | list | '' | throttle | topic
    Replicas throttled on the follower's side while they are not in sync, as `partition:broker` pairs or `*`.
remote.storage.enable | boolean | false | - | topic
    Keep closed segments in remote storage as well; refused while the broker has none.
local.retention.ms | long | -2 | -2.. | topic | from=log.local.retention.ms
    Age at which segments that are in remote storage leave the local disk; -2: `retention.ms`.
local.retention.bytes | long | -2 | -2.. | topic | from=log.local.retention.bytes
    Local size above which segments in remote storage leave the disk; -2: `retention.bytes`.
remote.log.copy.disable | boolean | false | - | topic
    Stop copying segments to remote storage; what is there stays readable.
remote.log.delete.on.disable | boolean | false | - | topic
    Delete the remote segments when remote storage is turned off for the topic.
internal.segment.bytes | int | - | - | topic | internal
    A segment size below the usual minimum, for tests.
message.format.validation | string | header | one(header,full) | topic \
| from=message.format.validation
    `header`: the CRC and the header of a produced batch are checked. `full`: every record in it as well.
durability | string | fsync | one(fsync,page-cache) | topic | from=durability
    `fsync`: what acks=all acknowledges is on the device. `page-cache`: Kafka's own trade, in memory only.
"""
