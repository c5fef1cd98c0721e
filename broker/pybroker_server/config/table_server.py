"""Broker keys of identity, listeners, limits, requests, replication, metrics and quotas.

The notation is that of `notation.py`.
"""

TABLE = """
node.id | int | - | 0.. | read-only
    Number of this broker in its cluster. Unset: the one found in the data directory, else 1.
broker.id | int | -1 | - | read-only
    The older name of `node.id`; read when that key is not set.
broker.rack | string | - | - | read-only
    Where this broker stands; replicas are spread over racks, and clients may prefer their own.
listeners | list | PLAINTEXT://127.0.0.1:9092 | some+() | per-broker
    Addresses to listen on, as `NAME://host:port`; an empty host means every interface.
advertised.listeners | list | - | some+() | read-only
    Addresses to tell clients. Unset: each client is told an address that it can reach.
listener.security.protocol.map | string \
| SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT | - | per-broker
    Which security protocol each listener name speaks, as `NAME:PROTOCOL` pairs.
inter.broker.listener.name | string | - | - | read-only
    The listener that brokers use among themselves. Unset: one of its own when the metadata store can be shared.
security.inter.broker.protocol | string | PLAINTEXT | one(PLAINTEXT,SSL,SASL_PLAINTEXT,SASL_SSL) | read-only
    Protocol, and so the listener, that brokers use among themselves when no name is given.
early.start.listeners | list | - | - | read-only
    Listeners that may open before authorization is ready.
socket.send.buffer.bytes | int | 102400 | - | read-only
    Send buffer of each connection's socket; -1 leaves it to the operating system.
socket.receive.buffer.bytes | int | 102400 | - | read-only
    Receive buffer of each connection's socket; -1 leaves it to the operating system.
socket.request.max.bytes | int | 104857600 | 1.. | read-only
    The largest request; a connection that announces a larger one is closed.
socket.listen.backlog.size | int | 50 | 1.. | read-only
    Connections that may wait to be accepted.
socket.connection.setup.timeout.ms | long | 10000 | - | read-only
    How long a connection to another broker may take to open, at first.
socket.connection.setup.timeout.max.ms | long | 30000 | - | read-only
    How long a connection to another broker may take to open, after repeated failures.
max.connections.per.ip | int | 2147483647 | 0.. | cluster-wide
    Connections that one address may hold open; more are refused.
max.connections.per.ip.overrides | string | '' | - | cluster-wide
    Exceptions to `max.connections.per.ip`, as `address:count` pairs.
max.connections | int | 10000 | 0.. | cluster-wide
    Connections that may be open at once, all listeners together; more are refused.
max.connection.creation.rate | int | 2147483647 | 0.. | cluster-wide
    Connections per second that are accepted; more have to wait.
connections.max.idle.ms | long | 600000 | - | read-only
    A connection without a request for this long is closed.
connection.failed.authentication.delay.ms | int | 100 | 0.. | read-only
    How long the answer to a failed authentication is held back.
queued.max.requests | int | 500 | 1.. | read-only
    Requests that may wait for handling before connections stop being read.
queued.max.request.bytes | long | 268435456 | - | read-only
    Bytes of requests in memory, all connections together, above which reading pauses; -1: no limit.
num.network.threads | int | 3 | 1.. | cluster-wide
    Threads that read and write sockets in Kafka; pybroker uses one event loop per process.
num.io.threads | int | 8 | 1.. | cluster-wide
    Threads that handle requests in Kafka; pybroker uses one event loop per process.
background.threads | int | 10 | 1.. | cluster-wide
    Threads for background work in Kafka.
num.replica.alter.log.dirs.threads | int | - | - | read-only
    Threads that move replicas between log directories in Kafka.
request.timeout.ms | int | 30000 | - | read-only
    How long a request to another broker may take.
controller.socket.timeout.ms | int | 30000 | - | read-only
    How long a request from the controller to a broker may take.
fetch.max.bytes | int | 57671680 | 1024.. | read-only
    The most record bytes in one fetch answer, whatever the client asks for; one batch always fits.
max.incremental.fetch.session.cache.slots | int | 1000 | 0.. | read-only
    Incremental fetch sessions that are remembered; 0 turns sessions off.
max.request.partition.size.limit | int | 2000 | 1.. | read-only
    The most partitions in one answer to DescribeTopicPartitions.
default.replication.factor | int | 1 | - | read-only
    Replicas of a topic that is created without saying how many.
replica.lag.time.max.ms | long | 30000 | - | read-only
    A follower that did not catch up for this long leaves the in-sync replicas.
replica.socket.timeout.ms | int | 30000 | - | read-only
    How long a follower's fetch may take.
replica.socket.receive.buffer.bytes | int | 65536 | - | read-only
    Receive buffer of a follower's connection to its leader.
replica.fetch.max.bytes | int | 1048576 | 0.. | read-only
    Bytes that a follower asks for per partition in one fetch.
replica.fetch.wait.max.ms | int | 500 | - | read-only
    How long a leader may hold a follower's fetch while there is nothing new.
replica.fetch.backoff.ms | int | 1000 | 0.. | read-only
    Wait of a follower after a partition's fetch failed.
replica.fetch.min.bytes | int | 1 | - | read-only
    Bytes that a follower wants before its fetch is answered early.
replica.fetch.response.max.bytes | int | 10485760 | 0.. | read-only
    Bytes that a follower asks for in one fetch, all partitions together.
num.replica.fetchers | int | 1 | 1.. | cluster-wide
    Connections on which a follower fetches from one leader.
replica.high.watermark.checkpoint.interval.ms | long | 5000 | - | read-only
    How often each partition's high watermark is written down.
replica.selector.class | string | - \
| one(org.apache.kafka.common.replica.LeaderSelector,org.apache.kafka.common.replica.RackAwareReplicaSelector) \
| read-only
    Which replica a consumer that says its rack is sent to: the leader, or one in sync on its own rack.
fetch.purgatory.purge.interval.requests | int | 1000 | - | read-only
    How often finished entries leave the waiting room of fetches in Kafka.
producer.purgatory.purge.interval.requests | int | 1000 | - | read-only
    How often finished entries leave the waiting room of produces in Kafka.
delete.records.purgatory.purge.interval.requests | int | 1 | - | read-only
    How often finished entries leave the waiting room of DeleteRecords in Kafka.
share.fetch.purgatory.purge.interval.requests | int | 1000 | - | read-only
    How often finished entries leave the waiting room of share fetches in Kafka.
auto.leader.rebalance.enable | boolean | true | - | read-only
    Whether leadership goes back to the preferred replicas by itself.
leader.imbalance.check.interval.seconds | long | 300 | 1.. | read-only
    How often leadership is compared with the preferred replicas.
controlled.shutdown.enable | boolean | true | - | read-only
    Whether a stopping broker hands its leaderships over first.
initial.broker.registration.timeout.ms | int | 60000 | - | read-only
    How long a starting broker tries to register before it gives up.
broker.heartbeat.interval.ms | int | 2000 | - | read-only
    How often a broker renews its lease in the metadata store.
broker.session.timeout.ms | int | 9000 | - | read-only
    A broker that did not renew its lease for this long is fenced.
server.max.startup.time.ms | long | 9223372036854775807 | 0.. | read-only | internal
    Longest time a start may take, for tests.
config.providers | list | '' | - | cluster-wide
    Names of Java classes that fetch configuration values from elsewhere.
authorizer.class.name | string | '' | - | read-only
    Java class that decides who may do what.
principal.builder.class | class \
| org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder | - | per-broker
    Java class that names the user behind a connection.
client.quota.callback.class | class | - | - | read-only
    Java class that decides on quotas.
metrics.num.samples | int | 2 | 1.. | read-only
    Samples over which Kafka computes its rates.
metrics.sample.window.ms | long | 30000 | 1.. | read-only
    Time that one such sample covers.
metric.reporters | list | org.apache.kafka.common.metrics.JmxReporter | - | cluster-wide
    Java classes that get Kafka's metrics.
metrics.recording.level | string | INFO | - | read-only
    How many of its metrics Kafka records.
kafka.metrics.reporters | list | '' | - | read-only
    Java classes that get Kafka's older metrics.
kafka.metrics.polling.interval.secs | int | 10 | 1.. | read-only
    How often those classes may be polled.
telemetry.max.bytes | int | 1048576 | 1.. | read-only
    The largest push of client metrics that is accepted.
quota.window.num | int | 11 | 1.. | read-only
    Samples over which client quotas are measured.
replication.quota.window.num | int | 11 | 1.. | read-only
    Samples over which replication throttles are measured.
alter.log.dirs.replication.quota.window.num | int | 11 | 1.. | read-only
    Samples over which moves between log directories are measured.
controller.quota.window.num | int | 11 | 1.. | read-only
    Samples over which changes of topics are measured.
quota.window.size.seconds | int | 1 | 1.. | read-only
    Time that one sample of client quotas covers.
replication.quota.window.size.seconds | int | 1 | 1.. | read-only
    Time that one sample of replication throttles covers.
alter.log.dirs.replication.quota.window.size.seconds | int | 1 | 1.. | read-only
    Time that one sample of moves between log directories covers.
controller.quota.window.size.seconds | int | 1 | 1.. | read-only
    Time that one sample of changes of topics covers.
unstable.api.versions.enable | boolean | false | - | read-only | internal
    Whether protocol versions that are still in development are offered.
unstable.feature.versions.enable | boolean | false | - | read-only | internal
    Whether feature versions that are still in development are offered.
follower.fetch.last.tiered.offset.enable | boolean | false | - | cluster-wide
    Whether an empty follower begins after what remote storage holds.
cluster.id | string | - | nonempty | read-only
    Id of a cluster that is made anew; an id found in the data directory wins. Also `CLUSTER_ID`.
metadata.store.url | string | - | nonempty | read-only
    Where metadata lives: `sqlite:///path`, `etcd://host,host/prefix`, `memory://`. Unset: SQLite beside the logs.
admin.listener | string | 127.0.0.1:9644 | - | read-only
    Address of the admin server, `host:port`: metrics and health over HTTP. Empty: none.
leader.replication.throttled.rate | long | 9223372036854775807 | 0.. | cluster-wide | internal
    Bytes per second that leaders may send for throttled replicas.
follower.replication.throttled.rate | long | 9223372036854775807 | 0.. | cluster-wide | internal
    Bytes per second that followers may fetch for throttled replicas.
replica.alter.log.dirs.io.max.bytes.per.second | long | 9223372036854775807 | 0.. | cluster-wide | internal
    Bytes per second that may move between log directories.
"""
