"""What a consumer's JoinGroup metadata says: the topics it subscribes to (the `consumer` protocol type).

Rules of this file: pure. Only the part that every version of the embedded protocol begins with is read, so that the
broker does not depend on versions that clients may add.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from pybroker_protocol.codec import decode
from pybroker_protocol.errors import ProtocolError
from pybroker_protocol.messages import ConsumerProtocolSubscription

CONSUMER: Final = "consumer"
_VERSION: Final = Struct(">h")


def subscribed_topics(metadata: bytes) -> frozenset[str]:
    """Raises ProtocolError for bytes that are no subscription."""
    if len(metadata) < _VERSION.size:
        raise ProtocolError("a consumer's subscription has no version")
    if _VERSION.unpack_from(metadata)[0] < 0:
        raise ProtocolError("a consumer's subscription has a negative version")
    subscription, _ = decode(ConsumerProtocolSubscription, 0, memoryview(metadata), _VERSION.size)
    return frozenset(subscription.topics)
