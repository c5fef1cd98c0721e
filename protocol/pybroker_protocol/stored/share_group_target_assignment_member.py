"""`__consumer_offsets`, key type 13: what the target assignment gives one member of a share group (KIP-932)."""

from typing import Final

KEY: Final = """
ShareGroupTargetAssignmentMemberKey  key 13  versions 0
  group_id   string
  member_id  string
"""

VALUE: Final = """
ShareGroupTargetAssignmentMemberValue  key 13  versions 0  flexible 0+
  topic_partitions  []TopicPartition
    topic_id        uuid
    partitions      []int32
"""
