"""LeaveGroup: remove members from a classic group. v3 several at once (KIP-345), v4 flexible, v5 reasons (KIP-800)."""

from typing import Final

REQUEST: Final = """
LeaveGroupRequest  key 13  versions 0-5  flexible 4+
  group_id             string
  member_id            string            0-2
  members              []MemberIdentity  3+
    member_id          string
    group_instance_id  string?                = null
    reason             string?           5    = null
"""

RESPONSE: Final = """
LeaveGroupResponse  key 13  versions 0-5  flexible 4+
  throttle_time_ms     int32             1+
  error_code           int16
  members              []MemberResponse  3+
    member_id          string
    group_instance_id  string?
    error_code         int16
"""
