"""SyncGroup: the leader of a classic group hands in the assignment, every member receives its part.

v3 static members (KIP-345), v4 flexible, v5 protocol type and name, checked by the broker (KIP-559).
"""

from typing import Final

REQUEST: Final = """
SyncGroupRequest  key 14  versions 0-5  flexible 4+
  group_id           string
  generation_id      int32
  member_id          string
  group_instance_id  string?                       3+  = null
  protocol_type      string?                       5   = null
  protocol_name      string?                       5   = null
  assignments        []SyncGroupRequestAssignment
    member_id        string
    assignment       bytes
"""

RESPONSE: Final = """
SyncGroupResponse  key 14  versions 0-5  flexible 4+
  throttle_time_ms  int32    1+
  error_code        int16
  protocol_type     string?  5   = null
  protocol_name     string?  5   = null
  assignment        bytes
"""
