"""Broker keys of Kafka's controller quorum (no effect here) and of remote storage (none yet).

The notation is that of `notation.py`.
"""

TABLE = """
process.roles | list | - | some+(broker,controller) | read-only
    Parts that a Kafka process plays; accepted and ignored, a pybroker is always a broker.
controller.listener.names | list | - | some+() | read-only
    Listeners for Kafka's controller quorum; pybroker has none and does not open them.
controller.quorum.voters | list | '' | - | read-only
    Members of Kafka's controller quorum; accepted and ignored.
controller.quorum.bootstrap.servers | list | '' | - | read-only
    Where Kafka's controller quorum is found; accepted and ignored.
controller.quorum.election.timeout.ms | int | 1000 | 0.. | read-only
    Timing of Kafka's controller quorum; accepted and ignored.
controller.quorum.fetch.timeout.ms | int | 2000 | 0.. | read-only
    Timing of Kafka's controller quorum; accepted and ignored.
controller.quorum.election.backoff.max.ms | int | 1000 | 0.. | read-only
    Timing of Kafka's controller quorum; accepted and ignored.
controller.quorum.append.linger.ms | int | 25 | 0.. | read-only
    Timing of Kafka's controller quorum; accepted and ignored.
controller.quorum.request.timeout.ms | int | 2000 | 0.. | read-only
    Timing of Kafka's controller quorum; accepted and ignored.
controller.quorum.retry.backoff.ms | int | 20 | 0.. | read-only
    Timing of Kafka's controller quorum; accepted and ignored.
controller.quorum.auto.join.enable | boolean | false | - | read-only
    Whether a controller joins Kafka's quorum by itself; accepted and ignored.
controller.quorum.fetch.snapshot.max.bytes | int | 1048576 | 1.. | read-only
    Size of reads from Kafka's metadata log; accepted and ignored.
controller.quorum.fetch.max.bytes | int | 1048576 | 1.. | read-only
    Size of reads from Kafka's metadata log; accepted and ignored.
controller.performance.sample.period.ms | long | 60000 | 100.. | read-only | internal
    How often Kafka's controller reports its speed; accepted and ignored.
controller.performance.always.log.threshold.ms | long | 2000 | 0.. | read-only | internal
    When Kafka's controller reports a slow event; accepted and ignored.
sasl.mechanism.controller.protocol | string | GSSAPI | - | read-only
    SASL mechanism towards Kafka's controllers; accepted and ignored.
metadata.log.dir | string | - | - | read-only
    Where Kafka keeps its metadata log; accepted and ignored, see `metadata.store.url`.
metadata.log.max.record.bytes.between.snapshots | long | 20971520 | 1.. | read-only
    Snapshots of Kafka's metadata log; accepted and ignored.
metadata.log.max.snapshot.interval.ms | long | 3600000 | 0.. | read-only
    Snapshots of Kafka's metadata log; accepted and ignored.
metadata.log.segment.bytes | int | 1073741824 | 8388608.. | read-only
    Segments of Kafka's metadata log; accepted and ignored.
metadata.log.segment.ms | long | 604800000 | - | read-only
    Segments of Kafka's metadata log; accepted and ignored.
metadata.max.retention.bytes | long | 104857600 | - | read-only
    Retention of Kafka's metadata log; accepted and ignored.
metadata.max.retention.ms | long | 604800000 | - | read-only
    Retention of Kafka's metadata log; accepted and ignored.
metadata.max.idle.interval.ms | int | 500 | 0.. | read-only
    Heartbeat of Kafka's metadata log; accepted and ignored.
internal.metadata.log.segment.bytes | int | - | - | read-only | internal
    Segments of Kafka's metadata log, for tests; accepted and ignored.
internal.metadata.max.batch.size.in.bytes | int | 8388608 | - | read-only | internal
    Batches of Kafka's metadata log, for tests; accepted and ignored.
internal.metadata.delete.delay.millis | long | 60000 | - | read-only | internal
    Deletions in Kafka's metadata log, for tests; accepted and ignored.
remote.log.storage.system.enable | boolean | false | - | read-only
    Whether the broker can keep segments in remote storage.
remote.log.storage.manager.impl.prefix | string | rsm.config. | nonempty | read-only
    Prefix of the keys that are handed to the remote storage class.
remote.log.metadata.manager.impl.prefix | string | rlmm.config. | nonempty | read-only
    Prefix of the keys that are handed to the remote metadata class.
remote.log.storage.manager.class.name | string | - | nonempty | read-only
    Java class that stores segments remotely.
remote.log.storage.manager.class.path | string | - | - | read-only
    Where that class is found.
remote.log.metadata.manager.class.name \
| string \
| org.apache.kafka.server.log.remote.metadata.storage.TopicBasedRemoteLogMetadataManager \
| nonempty | read-only
    Java class that remembers which segments are stored remotely.
remote.log.metadata.manager.class.path | string | - | - | read-only
    Where that class is found.
remote.log.metadata.manager.listener.name | string | - | nonempty | read-only
    Listener that the remote metadata class uses.
remote.log.metadata.custom.metadata.max.bytes | int | 128 | 0.. | read-only
    Bytes that the remote storage class may add to a segment's metadata.
remote.log.index.file.cache.total.size.bytes | long | 1073741824 | 1.. | cluster-wide
    Disk space for indexes fetched from remote storage.
remote.log.index.file.cache.ttl.ms | long | 900000 | -1.. | read-only | internal
    How long such an index is kept without being used.
remote.log.manager.thread.pool.size | int | 2 | 1.. | read-only
    Threads for remote storage in Kafka.
remote.log.manager.copier.thread.pool.size | int | 10 | 1.. | cluster-wide
    Threads that copy segments to remote storage in Kafka.
remote.log.manager.expiration.thread.pool.size | int | 10 | 1.. | cluster-wide
    Threads that delete remote segments in Kafka.
remote.log.manager.follower.thread.pool.size | int | 2 | 1.. | cluster-wide
    Threads that follow remote storage for followers in Kafka.
remote.log.manager.task.interval.ms | long | 30000 | 1.. | read-only
    How often segments to copy or delete are looked for.
remote.log.manager.task.retry.backoff.ms | long | 500 | 1.. | read-only | internal
    First wait after remote storage failed.
remote.log.manager.task.retry.backoff.max.ms | long | 30000 | 1.. | read-only | internal
    Longest wait after remote storage failed.
remote.log.manager.task.retry.jitter | double | 0.2 | 0..0.5 | read-only | internal
    Random share added to that wait.
remote.log.reader.threads | int | 10 | 1.. | cluster-wide
    Threads that read from remote storage in Kafka.
remote.log.reader.max.pending.tasks | int | 100 | 1.. | read-only
    Remote reads that may wait.
remote.log.manager.copy.max.bytes.per.second | long | 9223372036854775807 | 1.. | cluster-wide
    Limit on what is copied to remote storage.
remote.log.manager.copy.quota.window.num | int | 11 | 1.. | read-only
    Samples over which that limit is measured.
remote.log.manager.copy.quota.window.size.seconds | int | 1 | 1.. | read-only
    Time that one such sample covers.
remote.log.manager.fetch.max.bytes.per.second | long | 9223372036854775807 | 1.. | cluster-wide
    Limit on what is read from remote storage.
remote.log.manager.fetch.quota.window.num | int | 11 | 1.. | read-only
    Samples over which that limit is measured.
remote.log.manager.fetch.quota.window.size.seconds | int | 1 | 1.. | read-only
    Time that one such sample covers.
remote.fetch.max.wait.ms | int | 500 | 1.. | cluster-wide
    How long a fetch waits for remote storage.
remote.list.offsets.request.timeout.ms | long | 30000 | 1.. | cluster-wide
    How long a look-up of offsets waits for remote storage.
"""
