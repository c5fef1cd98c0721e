"""Broker keys of groups, offsets, share groups, streams groups and transactions.

The notation is that of `notation.py`.
"""

TABLE = """
group.coordinator.rebalance.protocols | list | classic,consumer,streams \
| some+(consumer,classic,share,streams) | read-only
    Kinds of groups that this broker coordinates.
group.coordinator.threads | int | 4 | 1.. | read-only
    Threads that serve groups in Kafka; pybroker uses its event loop.
group.coordinator.background.threads | int | 2 | 1.. | read-only
    Threads for the slow work of groups in Kafka.
group.coordinator.append.linger.ms | int | -1 | -1.. | read-only
    How long group changes gather before they are written together; -1 adapts to the load.
group.coordinator.cached.buffer.max.bytes | int | 1048588 | 524288.. | cluster-wide
    Largest write buffer that the group coordinator keeps for the next use.
offsets.commit.timeout.ms | int | 5000 | 1.. | read-only
    How long a commit waits for the replicas of the offsets topic.
offsets.load.buffer.size | int | 5242880 | 1.. | read-only
    Bytes read at a time when a coordinator loads its part of the offsets topic.
offsets.topic.replication.factor | short | 3 | 1.. | read-only
    Replicas of the offsets topic. Unset: this many, or every broker while there are fewer.
offsets.topic.num.partitions | int | 50 | 1.. | read-only
    Partitions of the offsets topic; fixed once the topic exists.
offsets.topic.segment.bytes | int | 104857600 | 1.. | read-only
    Segment size of the offsets topic.
offsets.topic.compression.codec | int | 0 | - | read-only
    Number of the codec that offset commits are stored with; 0 is none.
offset.metadata.max.bytes | int | 4096 | - | read-only
    The longest note that a client may add to a committed offset.
offsets.retention.minutes | int | 10080 | 1.. | read-only
    Offsets of a group that is empty, or of a partition nobody subscribes to, are dropped after this.
offsets.retention.check.interval.ms | long | 600000 | 1.. | read-only
    How often offsets that may be dropped are looked for.
group.min.session.timeout.ms | int | 6000 | - | read-only
    The shortest session timeout that a member of a classic group may ask for.
group.max.session.timeout.ms | int | 1800000 | - | read-only
    The longest session timeout that a member of a classic group may ask for.
group.initial.rebalance.delay.ms | int | 3000 | - | read-only
    How long a new classic group waits for more members before it first assigns partitions.
group.max.size | int | 2147483647 | 1.. | read-only
    Members that a classic group may have.
group.consumer.session.timeout.ms | int | 45000 | 1.. | read-only
    A consumer-group member that sent no heartbeat for this long is removed.
group.consumer.min.session.timeout.ms | int | 45000 | 1.. | read-only
    Lower bound of a consumer group's own session timeout.
group.consumer.max.session.timeout.ms | int | 60000 | 1.. | read-only
    Upper bound of a consumer group's own session timeout.
group.consumer.heartbeat.interval.ms | int | 5000 | 1.. | read-only
    How often consumer-group members are told to send heartbeats.
group.consumer.min.heartbeat.interval.ms | int | 5000 | 1.. | read-only
    Lower bound of a consumer group's own heartbeat interval.
group.consumer.max.heartbeat.interval.ms | int | 15000 | 1.. | read-only
    Upper bound of a consumer group's own heartbeat interval.
group.consumer.max.size | int | 2147483647 | 1.. | read-only
    Members that a consumer group may have.
group.consumer.assignors | list | uniform,range | some+() | read-only
    Ways to share out partitions that consumer groups may choose; the first is the default.
group.consumer.migration.policy | string | bidirectional \
| one-ci(DISABLED,DOWNGRADE,UPGRADE,BIDIRECTIONAL) | read-only
    Whether live groups may change between the classic and the consumer protocol, and which way.
group.consumer.assignment.interval.ms | int | 1000 | 0.. | cluster-wide
    Shortest time between two assignments of a consumer group.
group.consumer.min.assignment.interval.ms | int | 0 | 0.. | read-only
    Lower bound of a consumer group's own assignment interval.
group.consumer.max.assignment.interval.ms | int | 15000 | 0.. | read-only
    Upper bound of a consumer group's own assignment interval.
group.consumer.regex.refresh.interval.ms | int | 600000 | 10000.. | read-only | internal
    How often a subscription by pattern is matched against the topics again.
group.share.session.timeout.ms | int | 45000 | 1.. | read-only
    A share-group member that sent no heartbeat for this long is removed.
group.share.min.session.timeout.ms | int | 45000 | 1.. | read-only
    Lower bound of a share group's own session timeout.
group.share.max.session.timeout.ms | int | 60000 | 1.. | read-only
    Upper bound of a share group's own session timeout.
group.share.heartbeat.interval.ms | int | 5000 | 1.. | read-only
    How often share-group members are told to send heartbeats.
group.share.min.heartbeat.interval.ms | int | 5000 | 1.. | read-only
    Lower bound of a share group's own heartbeat interval.
group.share.max.heartbeat.interval.ms | int | 15000 | 1.. | read-only
    Upper bound of a share group's own heartbeat interval.
group.share.max.size | int | 200 | 1..1000 | read-only
    Members that a share group may have.
group.share.assignors | list | simple | some+() | read-only
    The way in which share groups spread partitions over members.
group.share.assignment.interval.ms | int | 1000 | 0.. | cluster-wide
    Shortest time between two assignments of a share group.
group.share.min.assignment.interval.ms | int | 0 | 0.. | read-only
    Lower bound of a share group's own assignment interval.
group.share.max.assignment.interval.ms | int | 15000 | 0.. | read-only
    Upper bound of a share group's own assignment interval.
group.share.initialize.retry.interval.ms | int | 30000 | 1.. | read-only | internal
    Wait before the state of a share group is set up again after a failure.
group.share.delivery.count.limit | int | 5 | 2..10 | read-only
    Deliveries of a record to a share group before it counts as undeliverable.
group.share.min.delivery.count.limit | int | 2 | 2..5 | read-only
    Lower bound of a share group's own delivery limit.
group.share.max.delivery.count.limit | int | 10 | 5..25 | read-only
    Upper bound of a share group's own delivery limit.
group.share.record.lock.duration.ms | int | 30000 | 1000..3600000 | read-only
    How long a delivered record belongs to one member of a share group.
group.share.min.record.lock.duration.ms | int | 15000 | 1000..30000 | read-only
    Lower bound of a share group's own lock duration.
group.share.max.record.lock.duration.ms | int | 60000 | 30000..3600000 | read-only
    Upper bound of a share group's own lock duration.
group.share.partition.max.record.locks | int | 2000 | 100..10000 | read-only
    Records of one partition that a share group may have in delivery.
group.share.min.partition.max.record.locks | int | 100 | 100..2000 | read-only
    Lower bound of a share group's own limit of records in delivery.
group.share.max.partition.max.record.locks | int | 4000 | 2000..10000 | read-only
    Upper bound of a share group's own limit of records in delivery.
group.share.max.share.sessions | int | 2000 | 1.. | read-only
    Share sessions that one broker remembers.
group.share.persister.class.name | string \
| org.apache.kafka.server.share.persister.DefaultStatePersister | - | read-only | internal
    Java class that stores the state of share groups.
share.coordinator.state.topic.num.partitions | int | 50 | 1.. | read-only
    Partitions of the topic with the state of share groups; fixed once it exists.
share.coordinator.state.topic.replication.factor | short | 3 | 1.. | read-only
    Replicas of that topic. Unset: this many, or every broker while there are fewer.
share.coordinator.state.topic.min.isr | short | 2 | 1.. | read-only
    In-sync replicas that a write to that topic needs, never more than it has replicas.
share.coordinator.state.topic.segment.bytes | int | 104857600 | 1.. | read-only
    Segment size of that topic.
share.coordinator.state.topic.compression.codec | int | 0 | - | read-only
    Number of the codec that share state is stored with; 0 is none.
share.coordinator.state.topic.prune.interval.ms | int | 300000 | 1.. | read-only | internal
    How often records of that topic that nobody needs are deleted.
share.coordinator.threads | int | 1 | 1.. | read-only
    Threads that serve share state in Kafka.
share.coordinator.snapshot.update.records.per.snapshot | int | 500 | 0..500 | read-only
    Changes of share state between two full records of it.
share.coordinator.load.buffer.size | int | 5242880 | 1.. | read-only
    Bytes read at a time when share state is loaded.
share.coordinator.append.linger.ms | int | -1 | -1.. | read-only
    How long changes of share state gather before they are written; -1 adapts to the load.
share.coordinator.write.timeout.ms | int | 5000 | 1.. | read-only
    How long a write of share state waits for the replicas.
share.coordinator.cold.partition.snapshot.interval.ms | int | 300000 | 1.. | read-only | internal
    How often share state that does not change is written in full.
share.coordinator.cached.buffer.max.bytes | int | 1048588 | 524288.. | cluster-wide
    Largest write buffer that the share coordinator keeps for the next use.
group.streams.session.timeout.ms | int | 45000 | 1.. | read-only
    A streams-group member that sent no heartbeat for this long is removed.
group.streams.min.session.timeout.ms | int | 45000 | 1.. | read-only
    Lower bound of a streams group's own session timeout.
group.streams.max.session.timeout.ms | int | 60000 | 1.. | read-only
    Upper bound of a streams group's own session timeout.
group.streams.heartbeat.interval.ms | int | 5000 | 1.. | read-only
    How often streams-group members are told to send heartbeats.
group.streams.min.heartbeat.interval.ms | int | 5000 | 1.. | read-only
    Lower bound of a streams group's own heartbeat interval.
group.streams.max.heartbeat.interval.ms | int | 15000 | 1.. | read-only
    Upper bound of a streams group's own heartbeat interval.
group.streams.max.size | int | 2147483647 | 1.. | read-only
    Members that a streams group may have.
group.streams.num.standby.replicas | int | 0 | 0.. | read-only
    Standby copies of each streams task.
group.streams.max.standby.replicas | int | 2 | 0.. | read-only
    Upper bound of a streams group's own number of standby copies.
group.streams.initial.rebalance.delay.ms | int | 3000 | 0.. | read-only
    How long a new streams group waits for more members before it first assigns tasks.
group.streams.assignment.interval.ms | int | 1000 | 0.. | cluster-wide
    Shortest time between two assignments of a streams group.
group.streams.min.assignment.interval.ms | int | 0 | 0.. | read-only
    Lower bound of a streams group's own assignment interval.
group.streams.max.assignment.interval.ms | int | 15000 | 0.. | read-only
    Upper bound of a streams group's own assignment interval.
transaction.state.log.min.isr | int | 2 | 1.. | read-only
    In-sync replicas that a write to the transaction topic needs, never more than it has replicas.
transaction.state.log.replication.factor | short | 3 | 1.. | read-only
    Replicas of the transaction topic. Unset: this many, or every broker while there are fewer.
transaction.state.log.num.partitions | int | 50 | 1.. | read-only
    Partitions of the transaction topic; fixed once the topic exists.
transaction.state.log.segment.bytes | int | 104857600 | 1.. | read-only
    Segment size of the transaction topic.
transaction.state.log.load.buffer.size | int | 5242880 | 1.. | read-only
    Bytes read at a time when a coordinator loads its part of the transaction topic.
transaction.partition.verification.enable | boolean | true | - | cluster-wide
    Check with the coordinator that a partition belongs to a transaction before writing to it.
transactional.id.expiration.ms | int | 604800000 | 1.. | read-only
    A transactional id without a change for this long is forgotten.
transaction.max.timeout.ms | int | 900000 | 1.. | read-only
    The longest transaction timeout that a producer may ask for.
transaction.abort.timed.out.transaction.cleanup.interval.ms | int | 10000 | 1.. | read-only
    How often transactions that ran out of time are looked for and aborted.
transaction.remove.expired.transaction.cleanup.interval.ms | int | 3600000 | 1.. | read-only
    How often transactional ids that may be forgotten are looked for.
transaction.two.phase.commit.enable | boolean | false | - | read-only
    Whether transactions may be part of a two-phase commit led by someone else.
add.partitions.to.txn.retry.backoff.max.ms | int | 100 | 0.. | read-only
    How long a broker may retry adding a partition to a transaction for a producer.
add.partitions.to.txn.retry.backoff.ms | int | 20 | 1.. | read-only
    Wait between two such tries.
"""
