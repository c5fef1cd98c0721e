"""What can go wrong, sorted by what to do about it.

Rules: everything the SDK raises on purpose is a `KafkaError`, except `TypeError` and `ValueError` for arguments that
can be seen to be wrong without a broker. The second level of the family says what the caller may do. `code` is
Kafka's error code when a broker answered one, with its name; errors found by the SDK itself have none.
"""

from __future__ import annotations

from collections.abc import Sequence

from pybroker_protocol.errors import ErrorCode, error_code

__all__ = [
    "Abortable",
    "AlreadyExists",
    "AuthError",
    "BufferFull",
    "Closed",
    "ConnectionFailed",
    "CorruptData",
    "DecodeFailed",
    "Fatal",
    "Fenced",
    "KafkaError",
    "NotAssigned",
    "NotFound",
    "OffsetOutOfRange",
    "Rejected",
    "Retriable",
    "TimedOut",
    "TooLarge",
    "UnsupportedVersion",
    "error_for",
]


class KafkaError(Exception):
    """The root. `code` is Kafka's error code or None, `name` its name or the kind of the error."""

    def __init__(self, message: str, *, code: ErrorCode | None = None) -> None:
        self.message = message
        self.code = code
        super().__init__(f"{message} [{code.name} ({int(code)})]" if code is not None else message)

    @property
    def name(self) -> str:
        return self.code.name if self.code is not None else type(self).__name__


class Retriable(KafkaError):
    """The SDK has tried until its time ran out; trying again later may help."""


class TimedOut(Retriable, TimeoutError):
    """The time given was over before the answer came. Whether the work was done may be unknown."""


class ConnectionFailed(Retriable):
    """No connection to a broker. Names the bootstrap list, and the advertised address where that is at fault."""


class BufferFull(Retriable):
    """The producer holds as many unsent bytes as it may: `await producer.ready()`, or use `send`, which waits."""


class Fatal(KafkaError):
    """Cannot be helped by trying again: the object that raised it is not usable any more, or the SDK has a bug."""


class Fenced(Fatal):
    """Another instance with the same identity has taken over."""


class Closed(Fatal):
    """The client, producer or consumer was closed."""


class UnsupportedVersion(Fatal):
    """The broker does not speak a version that this operation needs."""


class NotAssigned(KafkaError):
    """The group has given the partitions to another member: what this one did not commit is processed again there."""


class Abortable(KafkaError):
    """The transaction cannot be committed, and has been aborted: nothing of it counts, and all of it may be tried again
    in another one."""


class NotFound(KafkaError):
    """A topic, partition, group or id that does not exist."""


class AlreadyExists(KafkaError):
    """The thing to create exists already."""


class TooLarge(KafkaError):
    """A record or request larger than allowed: make it smaller, or raise `max.message.bytes` of the topic."""


class AuthError(KafkaError):
    """Not authenticated, or not allowed to do this."""


class Rejected(KafkaError):
    """The broker found the request, a record or a setting not valid; as it is, it will never be accepted.

    `record_errors` names records of a refused batch: (index in the batch, reason).
    """

    def __init__(
        self, message: str, *, code: ErrorCode | None = None, record_errors: Sequence[tuple[int, str]] = ()
    ) -> None:
        super().__init__(message, code=code)
        self.record_errors = list(record_errors)


class OffsetOutOfRange(KafkaError):
    """The offset to read from is not there (any more), and the consumer was told not to choose another."""


class CorruptData(KafkaError):
    """Data from a broker is damaged: checksum, format or compression do not hold."""


class DecodeFailed(KafkaError, ValueError):
    """A codec could not read a key or value. The bytes are in `record.raw_key` and `record.raw_value`."""


_KINDS: dict[ErrorCode, type[KafkaError]] = {
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION: NotFound,
    ErrorCode.UNKNOWN_TOPIC_ID: NotFound,
    ErrorCode.GROUP_ID_NOT_FOUND: NotFound,
    ErrorCode.RESOURCE_NOT_FOUND: NotFound,
    ErrorCode.LOG_DIR_NOT_FOUND: NotFound,
    ErrorCode.TRANSACTIONAL_ID_NOT_FOUND: NotFound,
    ErrorCode.BROKER_ID_NOT_REGISTERED: NotFound,
    ErrorCode.TOPIC_ALREADY_EXISTS: AlreadyExists,
    ErrorCode.DUPLICATE_RESOURCE: AlreadyExists,
    ErrorCode.MESSAGE_TOO_LARGE: TooLarge,
    ErrorCode.RECORD_LIST_TOO_LARGE: TooLarge,
    ErrorCode.OFFSET_METADATA_TOO_LARGE: TooLarge,
    ErrorCode.TOPIC_AUTHORIZATION_FAILED: AuthError,
    ErrorCode.GROUP_AUTHORIZATION_FAILED: AuthError,
    ErrorCode.CLUSTER_AUTHORIZATION_FAILED: AuthError,
    ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: AuthError,
    ErrorCode.DELEGATION_TOKEN_AUTHORIZATION_FAILED: AuthError,
    ErrorCode.SASL_AUTHENTICATION_FAILED: AuthError,
    ErrorCode.UNSUPPORTED_SASL_MECHANISM: AuthError,
    ErrorCode.ILLEGAL_SASL_STATE: AuthError,
    ErrorCode.PRODUCER_FENCED: Fenced,
    ErrorCode.INVALID_PRODUCER_EPOCH: Fenced,
    ErrorCode.FENCED_INSTANCE_ID: Fenced,
    ErrorCode.FENCED_MEMBER_EPOCH: NotAssigned,
    ErrorCode.UNKNOWN_MEMBER_ID: NotAssigned,
    ErrorCode.ILLEGAL_GENERATION: NotAssigned,
    ErrorCode.STALE_MEMBER_EPOCH: NotAssigned,
    ErrorCode.TRANSACTION_ABORTABLE: Abortable,
    ErrorCode.UNSUPPORTED_VERSION: UnsupportedVersion,
    ErrorCode.OFFSET_OUT_OF_RANGE: OffsetOutOfRange,
    ErrorCode.CORRUPT_MESSAGE: CorruptData,
    ErrorCode.REQUEST_TIMED_OUT: TimedOut,
    ErrorCode.UNKNOWN_SERVER_ERROR: Fatal,
}


def error_for(code: int, what: str, detail: str | None = None) -> KafkaError:
    """The exception for a broker's answer. `what` is what was asked for, `detail` the broker's own words."""
    known = error_code(code)
    message = f"{what}: {detail or known.message}"
    if known is ErrorCode.UNKNOWN_SERVER_ERROR and code != known:
        message = f"{what}: {detail or 'the broker answered an error code'} (code {code})"
    kind = _KINDS.get(known)
    if kind is None:
        kind = Retriable if known.retriable else Rejected
    return kind(message, code=known)
