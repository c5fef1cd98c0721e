"""The SDK: Producer, Consumer and Admin for services, over asyncio."""

from pybroker.admin import Admin, TopicInfo
from pybroker.client import Client
from pybroker.codecs import Codec, Json, MsgPack, Raw, Text
from pybroker.consumer import Consumer
from pybroker.dead_letters import Retry
from pybroker.delivery import BatchResult, Delivery, RecordMetadata, SendManyFailed
from pybroker.errors import KafkaError
from pybroker.group.settings import Assigned, GroupEvent, GroupMetadata, Lost, Position, Revoked, Slow
from pybroker.metadata import TopicPartition
from pybroker.pipeline import Output, Pipeline
from pybroker.producer import Producer
from pybroker.producer_input import Message
from pybroker.record import Record
from pybroker.transaction import Transaction

__all__ = [
    "Admin",
    "Assigned",
    "BatchResult",
    "Client",
    "Codec",
    "Consumer",
    "Delivery",
    "GroupEvent",
    "GroupMetadata",
    "Json",
    "KafkaError",
    "Lost",
    "Message",
    "MsgPack",
    "Output",
    "Pipeline",
    "Position",
    "Producer",
    "Raw",
    "Record",
    "RecordMetadata",
    "Retry",
    "Revoked",
    "SendManyFailed",
    "Slow",
    "Text",
    "TopicInfo",
    "TopicPartition",
    "Transaction",
]
