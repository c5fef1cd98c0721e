"""JoinGroup: become a member of a classic group; answered when the rebalance has gathered everyone.

v1 rebalance timeout, v4 a second request with the member id that the first was given (KIP-394), v5 static members
(KIP-345), v6 flexible, v7 protocol type in the answer (KIP-559), v8 a reason (KIP-800), v9 `skip_assignment` (KIP-814).
"""

from typing import Final

REQUEST: Final = """
JoinGroupRequest  key 11  versions 0-9  flexible 6+
  group_id              string
  session_timeout_ms    int32
  rebalance_timeout_ms  int32                       1+  = -1
  member_id             string
  group_instance_id     string?                     5+  = null
  protocol_type         string
  protocols             []JoinGroupRequestProtocol
    name                string
    metadata            bytes
  reason                string?                     8+  = null
"""

RESPONSE: Final = """
JoinGroupResponse  key 11  versions 0-9  flexible 6+
  throttle_time_ms     int32                      2+
  error_code           int16
  generation_id        int32                          = -1
  protocol_type        string?                    7+  = null
  protocol_name        string?7+
  leader               string
  skip_assignment      bool                       9
  member_id            string
  members              []JoinGroupResponseMember
    member_id          string
    group_instance_id  string?                    5+  = null
    metadata           bytes
"""
