"""Heartbeat: a member of a classic group is alive, and learns of a rebalance by the error.

v3 static members (KIP-345), v4 flexible.
"""

from typing import Final

REQUEST: Final = """
HeartbeatRequest  key 12  versions 0-4  flexible 4+
  group_id           string
  generation_id      int32
  member_id          string
  group_instance_id  string?  3+  = null
"""

RESPONSE: Final = """
HeartbeatResponse  key 12  versions 0-4  flexible 4+
  throttle_time_ms  int32  1+
  error_code        int16
"""
