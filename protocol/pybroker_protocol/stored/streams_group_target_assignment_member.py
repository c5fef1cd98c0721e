"""`__consumer_offsets`, key type 21: the tasks that the target assignment gives one member (KIP-1071)."""

from typing import Final

KEY: Final = """
StreamsGroupTargetAssignmentMemberKey  key 21  versions 0
  group_id   string
  member_id  string
"""

VALUE: Final = """
StreamsGroupTargetAssignmentMemberValue  key 21  versions 0  flexible 0+
  struct TaskIds
    subtopology_id  string
    partitions      []int32
  active_tasks      []TaskIds
  standby_tasks     []TaskIds
  warmup_tasks      []TaskIds
"""
