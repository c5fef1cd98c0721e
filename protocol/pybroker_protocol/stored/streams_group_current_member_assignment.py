"""`__consumer_offsets`, key type 22: the tasks that one member has now and those it is giving up (KIP-1071)."""

from typing import Final

KEY: Final = """
StreamsGroupCurrentMemberAssignmentKey  key 22  versions 0
  group_id   string
  member_id  string
"""

VALUE: Final = """
StreamsGroupCurrentMemberAssignmentValue  key 22  versions 0  flexible 0+
  struct TaskIds
    subtopology_id                  string
    partitions                      []int32
    assignment_epochs               []int32?   tag 0  = null
  member_epoch                      int32
  previous_member_epoch             int32
  state                             int8
  active_tasks                      []TaskIds
  standby_tasks                     []TaskIds
  warmup_tasks                      []TaskIds
  active_tasks_pending_revocation   []TaskIds
  standby_tasks_pending_revocation  []TaskIds
  warmup_tasks_pending_revocation   []TaskIds
"""
