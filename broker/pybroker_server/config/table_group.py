"""Keys of single groups, of any kind: what a group has of its own in the place of the broker's.

The notation is that of `notation.py`. The broker's `group.<kind>.min.*` and `group.<kind>.max.*` bound them.
"""

TABLE = """
consumer.session.timeout.ms | int | 45000 | 1.. | group | from=group.consumer.session.timeout.ms
    A member of the consumer group that sent no heartbeat for this long is removed.
consumer.heartbeat.interval.ms | int | 5000 | 1.. | group | from=group.consumer.heartbeat.interval.ms
    How often members of the consumer group are told to send heartbeats.
consumer.assignment.interval.ms | int | 1000 | 0.. | group | from=group.consumer.assignment.interval.ms
    Shortest time between two assignments of the consumer group.
share.session.timeout.ms | int | 45000 | 1.. | group | from=group.share.session.timeout.ms
    A member of the share group that sent no heartbeat for this long is removed.
share.heartbeat.interval.ms | int | 5000 | 1.. | group | from=group.share.heartbeat.interval.ms
    How often members of the share group are told to send heartbeats.
share.assignment.interval.ms | int | 1000 | 0.. | group | from=group.share.assignment.interval.ms
    Shortest time between two assignments of the share group.
share.record.lock.duration.ms | int | 30000 | 1000.. | group | from=group.share.record.lock.duration.ms
    How long a delivered record belongs to one member of the share group.
share.delivery.count.limit | int | 5 | 2.. | group | from=group.share.delivery.count.limit
    Deliveries of a record to the share group before it counts as undeliverable.
share.partition.max.record.locks | int | 2000 | 100.. | group | from=group.share.partition.max.record.locks
    Records of one partition that the share group may have in delivery.
share.auto.offset.reset | string | latest | - | group
    Where a share group begins to read: `earliest`, `latest`, or `by_duration:` and an ISO 8601 duration before now.
share.isolation.level | string | read_uncommitted | one(read_committed,read_uncommitted) | group
    Whether the share group gets what transactions have not committed.
share.renew.acknowledge.enable | boolean | true | - | group
    Whether members of the share group may extend the time that a record is theirs.
streams.session.timeout.ms | int | 45000 | 1.. | group | from=group.streams.session.timeout.ms
    A member of the streams group that sent no heartbeat for this long is removed.
streams.heartbeat.interval.ms | int | 5000 | 1.. | group | from=group.streams.heartbeat.interval.ms
    How often members of the streams group are told to send heartbeats.
streams.assignment.interval.ms | int | 1000 | 0.. | group | from=group.streams.assignment.interval.ms
    Shortest time between two assignments of the streams group.
streams.num.standby.replicas | int | 0 | 0.. | group | from=group.streams.num.standby.replicas
    Standby copies of each task of the streams group.
streams.initial.rebalance.delay.ms | int | 3000 | 0.. | group | from=group.streams.initial.rebalance.delay.ms
    How long a new streams group waits for more members before it first assigns tasks.
"""
