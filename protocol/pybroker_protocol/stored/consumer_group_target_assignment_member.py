"""`__consumer_offsets`, key type 7: what the target assignment gives one member (KIP-848)."""

from typing import Final

KEY: Final = """
ConsumerGroupTargetAssignmentMemberKey  key 7  versions 0
  group_id   string
  member_id  string
"""

VALUE: Final = """
ConsumerGroupTargetAssignmentMemberValue  key 7  versions 0  flexible 0+
  topic_partitions  []TopicPartition
    topic_id        uuid
    partitions      []int32
"""
