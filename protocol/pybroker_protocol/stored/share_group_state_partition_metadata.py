"""`__consumer_offsets`, key type 15: which partitions of a share group have state, get or lose it (KIP-932)."""

from typing import Final

KEY: Final = """
ShareGroupStatePartitionMetadataKey  key 15  versions 0
  group_id  string
"""

VALUE: Final = """
ShareGroupStatePartitionMetadataValue  key 15  versions 0  flexible 0+
  struct TopicPartitionsInfo
    topic_id           uuid
    topic_name         string
    partitions         []int32
  struct TopicInfo
    topic_id           uuid
    topic_name         string
  initializing_topics  []TopicPartitionsInfo
  initialized_topics   []TopicPartitionsInfo
  deleting_topics      []TopicInfo
"""
