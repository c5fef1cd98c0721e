"""Kafka's error codes, and the two exceptions that speak of them.

Rules of this file: one table, `ErrorCode`, says everything that is known of a code (number, name, whether a
client may try again, one line for humans); numbers, names and the retriable flag are Kafka 4.3's, the
sentences are ours. `KafkaError` is an answer (a code that travels in a response). `ProtocolError` is a peer
that broke the protocol: nothing else may come out of decoding, and its connection is not usable any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

__all__ = ["DecompressionTooLarge", "ErrorCode", "KafkaError", "ProtocolError", "error_code", "error_message"]

_RETRY = True  # the same request may succeed later (Kafka's RetriableException)
_FINAL = False  # sending the same request again cannot help


class ErrorCode(IntEnum):
    """Every error code of Kafka 4.3, -1 to 133, with `retriable` and `message` as attributes."""

    retriable: bool
    message: str

    def __new__(cls, code: int, retriable: bool, message: str) -> ErrorCode:
        member = int.__new__(cls, code)
        member._value_ = code
        member.retriable = retriable
        member.message = message
        return member

    UNKNOWN_SERVER_ERROR = -1, _FINAL, "the broker failed in a way it did not expect; its log says more"
    NONE = 0, _FINAL, "no error"
    OFFSET_OUT_OF_RANGE = 1, _FINAL, "the offset is below the log start or above the log end of the partition"
    CORRUPT_MESSAGE = 2, _RETRY, "the record batch is damaged: checksum, size or format do not hold"
    UNKNOWN_TOPIC_OR_PARTITION = 3, _RETRY, "this broker knows no such topic or partition"
    INVALID_FETCH_SIZE = 4, _FINAL, "the fetch size is not valid"
    LEADER_NOT_AVAILABLE = 5, _RETRY, "the partition has no leader at the moment; an election is due"
    NOT_LEADER_OR_FOLLOWER = 6, _RETRY, "this broker does not lead the partition, or holds no replica of it"
    REQUEST_TIMED_OUT = 7, _RETRY, "the request was not completed within its time limit"
    BROKER_NOT_AVAILABLE = 8, _FINAL, "the broker is not available"
    REPLICA_NOT_AVAILABLE = 9, _RETRY, "the replica is not available for this partition"
    MESSAGE_TOO_LARGE = 10, _FINAL, "the record batch is larger than the topic's max.message.bytes"
    STALE_CONTROLLER_EPOCH = 11, _FINAL, "another controller has taken over"
    OFFSET_METADATA_TOO_LARGE = 12, _FINAL, "the metadata text of a committed offset is too long"
    NETWORK_EXCEPTION = 13, _RETRY, "the connection was lost before the answer came"
    COORDINATOR_LOAD_IN_PROGRESS = 14, _RETRY, "the coordinator is still reading its log"
    COORDINATOR_NOT_AVAILABLE = 15, _RETRY, "no coordinator is available yet"
    NOT_COORDINATOR = 16, _RETRY, "this broker does not coordinate this group or transactional id"
    INVALID_TOPIC_EXCEPTION = 17, _FINAL, "the topic name is not legal, or not open to this operation"
    RECORD_LIST_TOO_LARGE = 18, _FINAL, "the record batch is larger than a log segment may be"
    NOT_ENOUGH_REPLICAS = 19, _RETRY, "too few replicas are in sync; nothing was written"
    NOT_ENOUGH_REPLICAS_AFTER_APPEND = 20, _RETRY, "written, but too few replicas are in sync"
    INVALID_REQUIRED_ACKS = 21, _FINAL, "acks must be -1, 0 or 1"
    ILLEGAL_GENERATION = 22, _FINAL, "the group has moved on to another generation"
    INCONSISTENT_GROUP_PROTOCOL = 23, _FINAL, "the member shares no assignment protocol with its group"
    INVALID_GROUP_ID = 24, _FINAL, "the group id is not valid"
    UNKNOWN_MEMBER_ID = 25, _FINAL, "the group has no member of this id"
    INVALID_SESSION_TIMEOUT = 26, _FINAL, "the session timeout is outside of what the broker allows"
    REBALANCE_IN_PROGRESS = 27, _FINAL, "the group is rebalancing; the member has to join again"
    INVALID_COMMIT_OFFSET_SIZE = 28, _FINAL, "the commit is too large to be stored"
    TOPIC_AUTHORIZATION_FAILED = 29, _FINAL, "not allowed to do this to the topic"
    GROUP_AUTHORIZATION_FAILED = 30, _FINAL, "not allowed to do this to the group"
    CLUSTER_AUTHORIZATION_FAILED = 31, _FINAL, "not allowed to do this to the cluster"
    INVALID_TIMESTAMP = 32, _FINAL, "the timestamp of a record lies outside of the range the topic accepts"
    UNSUPPORTED_SASL_MECHANISM = 33, _FINAL, "the broker does not offer this SASL mechanism"
    ILLEGAL_SASL_STATE = 34, _FINAL, "the request does not fit the state of authentication"
    UNSUPPORTED_VERSION = 35, _FINAL, "the broker does not speak this version of the request"
    TOPIC_ALREADY_EXISTS = 36, _FINAL, "a topic of this name exists already"
    INVALID_PARTITIONS = 37, _FINAL, "the number of partitions is not valid"
    INVALID_REPLICATION_FACTOR = (
        38,
        _FINAL,
        "the replication factor is below 1 or above the number of brokers",
    )
    INVALID_REPLICA_ASSIGNMENT = 39, _FINAL, "the replica assignment is not valid"
    INVALID_CONFIG = 40, _FINAL, "a configuration key or value is not valid"
    NOT_CONTROLLER = 41, _RETRY, "this broker is not the controller"
    INVALID_REQUEST = 42, _FINAL, "the request contradicts itself or the protocol"
    UNSUPPORTED_FOR_MESSAGE_FORMAT = 43, _FINAL, "the stored message format cannot serve this request"
    POLICY_VIOLATION = 44, _FINAL, "a policy of the cluster refuses the request"
    OUT_OF_ORDER_SEQUENCE_NUMBER = 45, _FINAL, "the producer's sequence number is not the one that is due"
    DUPLICATE_SEQUENCE_NUMBER = 46, _FINAL, "the producer's sequence number was seen before"
    INVALID_PRODUCER_EPOCH = 47, _FINAL, "the producer's epoch is older than the one in force"
    INVALID_TXN_STATE = 48, _FINAL, "the transaction is not in a state that allows this"
    INVALID_PRODUCER_ID_MAPPING = 49, _FINAL, "the producer id does not belong to the transactional id"
    INVALID_TRANSACTION_TIMEOUT = 50, _FINAL, "the transaction timeout is larger than the broker allows"
    CONCURRENT_TRANSACTIONS = 51, _RETRY, "an earlier step of this transaction is still being completed"
    TRANSACTION_COORDINATOR_FENCED = 52, _FINAL, "the transaction coordinator was replaced"
    TRANSACTIONAL_ID_AUTHORIZATION_FAILED = 53, _FINAL, "not allowed to use this transactional id"
    SECURITY_DISABLED = 54, _FINAL, "the broker has no security configured"
    OPERATION_NOT_ATTEMPTED = 55, _FINAL, "not tried, because another part of the request failed"
    KAFKA_STORAGE_ERROR = 56, _RETRY, "the log directory of the partition failed"
    LOG_DIR_NOT_FOUND = 57, _FINAL, "the broker has no such log directory"
    SASL_AUTHENTICATION_FAILED = 58, _FINAL, "authentication failed"
    UNKNOWN_PRODUCER_ID = 59, _FINAL, "the broker no longer knows this producer id"
    REASSIGNMENT_IN_PROGRESS = 60, _FINAL, "a reassignment of the partition is under way"
    DELEGATION_TOKEN_AUTH_DISABLED = 61, _FINAL, "delegation tokens are not enabled"
    DELEGATION_TOKEN_NOT_FOUND = 62, _FINAL, "no such delegation token"
    DELEGATION_TOKEN_OWNER_MISMATCH = 63, _FINAL, "only an owner or renewer may do this to the token"
    DELEGATION_TOKEN_REQUEST_NOT_ALLOWED = 64, _FINAL, "this kind of connection may not ask for tokens"
    DELEGATION_TOKEN_AUTHORIZATION_FAILED = 65, _FINAL, "not allowed to do this to the token"
    DELEGATION_TOKEN_EXPIRED = 66, _FINAL, "the delegation token has expired"
    INVALID_PRINCIPAL_TYPE = 67, _FINAL, "this type of principal is not supported"
    NON_EMPTY_GROUP = 68, _FINAL, "the group still has members"
    GROUP_ID_NOT_FOUND = 69, _FINAL, "no such group"
    FETCH_SESSION_ID_NOT_FOUND = 70, _RETRY, "the broker no longer has this fetch session"
    INVALID_FETCH_SESSION_EPOCH = 71, _RETRY, "the epoch of the fetch session is not the one that is due"
    LISTENER_NOT_FOUND = 72, _RETRY, "the leader has no listener of the name this client connected to"
    TOPIC_DELETION_DISABLED = 73, _FINAL, "deleting topics is disabled"
    FENCED_LEADER_EPOCH = 74, _RETRY, "the leader epoch of the request is older than the broker's"
    UNKNOWN_LEADER_EPOCH = 75, _RETRY, "the leader epoch of the request is newer than the broker's"
    UNSUPPORTED_COMPRESSION_TYPE = 76, _FINAL, "this request version cannot carry the compression in use"
    STALE_BROKER_EPOCH = 77, _FINAL, "the broker was registered anew in the meantime"
    OFFSET_NOT_AVAILABLE = 78, _RETRY, "a new leader cannot tell the high watermark yet"
    MEMBER_ID_REQUIRED = 79, _FINAL, "join again with the member id just given"
    PREFERRED_LEADER_NOT_AVAILABLE = 80, _RETRY, "the preferred leader is not available"
    GROUP_MAX_SIZE_REACHED = 81, _FINAL, "the group has as many members as it may have"
    FENCED_INSTANCE_ID = 82, _FINAL, "another consumer has taken this group.instance.id"
    ELIGIBLE_LEADERS_NOT_AVAILABLE = 83, _RETRY, "no replica is eligible to lead"
    ELECTION_NOT_NEEDED = 84, _RETRY, "the partition needs no election"
    NO_REASSIGNMENT_IN_PROGRESS = 85, _FINAL, "no reassignment of the partition is under way"
    GROUP_SUBSCRIBED_TO_TOPIC = 86, _FINAL, "the group is subscribed to the topic, so its offsets cannot go"
    INVALID_RECORD = 87, _FINAL, "a record or its batch breaks a rule of the topic or the format"
    UNSTABLE_OFFSET_COMMIT = 88, _RETRY, "an open transaction still has offsets to commit"
    THROTTLING_QUOTA_EXCEEDED = 89, _RETRY, "a quota is used up for the moment"
    PRODUCER_FENCED = 90, _FINAL, "a newer producer with the same transactional id has taken over"
    RESOURCE_NOT_FOUND = 91, _FINAL, "the request names something that does not exist"
    DUPLICATE_RESOURCE = 92, _FINAL, "the request names the same thing twice"
    UNACCEPTABLE_CREDENTIAL = 93, _FINAL, "the credential does not meet the demands on it"
    INCONSISTENT_VOTER_SET = 94, _FINAL, "sender or receiver is not among the expected voters"
    INVALID_UPDATE_VERSION = 95, _FINAL, "the version of the update is not valid"
    FEATURE_UPDATE_FAILED = 96, _FINAL, "the finalized features could not be changed"
    PRINCIPAL_DESERIALIZATION_FAILURE = 97, _FINAL, "the principal of a forwarded request could not be read"
    SNAPSHOT_NOT_FOUND = 98, _FINAL, "no such snapshot"
    POSITION_OUT_OF_RANGE = 99, _FINAL, "the position lies outside of the snapshot"
    UNKNOWN_TOPIC_ID = 100, _RETRY, "this broker knows no topic of this id"
    DUPLICATE_BROKER_REGISTRATION = 101, _FINAL, "another broker is registered under this id"
    BROKER_ID_NOT_REGISTERED = 102, _FINAL, "no broker is registered under this id"
    INCONSISTENT_TOPIC_ID = 103, _RETRY, "the topic id of the request is not that of the log"
    INCONSISTENT_CLUSTER_ID = 104, _FINAL, "the request was meant for another cluster"
    TRANSACTIONAL_ID_NOT_FOUND = 105, _FINAL, "no such transactional id"
    FETCH_SESSION_TOPIC_ID_ERROR = 106, _RETRY, "the fetch session mixes topic names and topic ids"
    INELIGIBLE_REPLICA = 107, _FINAL, "a replica of the new in-sync set may not be in it"
    NEW_LEADER_ELECTED = 108, _FINAL, "the change was made, and the partition has a new leader"
    OFFSET_MOVED_TO_TIERED_STORAGE = 109, _FINAL, "the offset is kept in tiered storage"
    FENCED_MEMBER_EPOCH = 110, _FINAL, "the member was fenced: give up all partitions and join again"
    UNRELEASED_INSTANCE_ID = 111, _FINAL, "another member still holds this instance id"
    UNSUPPORTED_ASSIGNOR = 112, _FINAL, "the group does not support this assignor"
    STALE_MEMBER_EPOCH = 113, _FINAL, "the member has to heartbeat for its new epoch and try again"
    MISMATCHED_ENDPOINT_TYPE = 114, _FINAL, "the request was sent to the wrong kind of endpoint"
    UNSUPPORTED_ENDPOINT_TYPE = 115, _FINAL, "this kind of endpoint is not supported"
    UNKNOWN_CONTROLLER_ID = 116, _FINAL, "no such controller"
    UNKNOWN_SUBSCRIPTION_ID = 117, _FINAL, "the telemetry subscription is unknown or outdated"
    TELEMETRY_TOO_LARGE = 118, _FINAL, "the telemetry is larger than the broker takes"
    INVALID_REGISTRATION = 119, _FINAL, "the controller refuses the registration of the broker"
    TRANSACTION_ABORTABLE = 120, _FINAL, "the transaction failed; abort it and go on"
    INVALID_RECORD_STATE = 121, _FINAL, "the delivery can no longer be acknowledged"
    SHARE_SESSION_NOT_FOUND = 122, _RETRY, "the broker no longer has this share session"
    INVALID_SHARE_SESSION_EPOCH = 123, _RETRY, "the epoch of the share session is not the one that is due"
    FENCED_STATE_EPOCH = 124, _FINAL, "the state epoch of the share group has changed"
    INVALID_VOTER_KEY = 125, _FINAL, "the voter key is not that of the receiving replica"
    DUPLICATE_VOTER = 126, _FINAL, "the voter is in the set already"
    VOTER_NOT_FOUND = 127, _FINAL, "the voter is not in the set"
    INVALID_REGULAR_EXPRESSION = 128, _FINAL, "the regular expression is not valid"
    REBOOTSTRAP_REQUIRED = 129, _FINAL, "metadata is stale; start again from the bootstrap list"
    STREAMS_INVALID_TOPOLOGY = 130, _FINAL, "the streams topology is not valid"
    STREAMS_INVALID_TOPOLOGY_EPOCH = 131, _FINAL, "the epoch of the streams topology is not valid"
    STREAMS_TOPOLOGY_FENCED = 132, _FINAL, "the epoch of the streams topology is outdated"
    SHARE_SESSION_LIMIT_REACHED = 133, _RETRY, "the broker has as many share sessions as it may have"


_BY_CODE: dict[int, ErrorCode] = {int(code): code for code in ErrorCode}


def error_code(code: int) -> ErrorCode:
    """The member for a code off the wire; one we do not know counts as UNKNOWN_SERVER_ERROR, as in Kafka."""
    return _BY_CODE.get(code, ErrorCode.UNKNOWN_SERVER_ERROR)


def error_message(code: int) -> str:
    """One line for humans about a code off the wire, known or not."""
    known = _BY_CODE.get(code)
    return known.message if known is not None else f"error code {code}, which this version does not know"


class KafkaError(Exception):
    """An answer of a broker that is an error code.

    `record_errors` names single records of a refused batch: (index in the batch, reason), KIP-467.
    """

    __slots__ = ("code", "message", "record_errors")

    def __init__(
        self, code: ErrorCode, message: str | None = None, *, record_errors: Sequence[tuple[int, str]] = ()
    ) -> None:
        self.code = code
        self.message = message if message is not None else code.message
        self.record_errors = record_errors
        super().__init__(f"{code.name} ({int(code)}): {self.message}")

    @property
    def retriable(self) -> bool:
        """Whether the same request may succeed later."""
        return self.code.retriable


class ProtocolError(Exception):
    """The peer sent bytes that break the protocol; nothing else may come out of decoding hostile bytes."""


class DecompressionTooLarge(ProtocolError):
    """Decompressed data would pass the caller's limit: most likely a decompression bomb."""
