"""`__consumer_offsets`, key type 14: what one member of a share group has now (KIP-932)."""

from typing import Final

KEY: Final = """
ShareGroupCurrentMemberAssignmentKey  key 14  versions 0
  group_id   string
  member_id  string
"""

VALUE: Final = """
ShareGroupCurrentMemberAssignmentValue  key 14  versions 0  flexible 0+
  struct TopicPartitions
    topic_id             uuid
    partitions           []int32
  member_epoch           int32
  previous_member_epoch  int32
  state                  int8
  assigned_partitions    []TopicPartitions
"""
