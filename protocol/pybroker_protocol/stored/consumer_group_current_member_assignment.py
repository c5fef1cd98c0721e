"""`__consumer_offsets`, key type 8: what one member owns now and what it is giving up (KIP-848)."""

from typing import Final

KEY: Final = """
ConsumerGroupCurrentMemberAssignmentKey  key 8  versions 0
  group_id   string
  member_id  string
"""

VALUE: Final = """
ConsumerGroupCurrentMemberAssignmentValue  key 8  versions 0  flexible 0+
  struct TopicPartitions
    topic_id                     uuid
    partitions                   []int32
    assignment_epochs            []int32?           tag 0  = null
  member_epoch                   int32
  previous_member_epoch          int32
  state                          int8
  assigned_partitions            []TopicPartitions
  partitions_pending_revocation  []TopicPartitions
"""
