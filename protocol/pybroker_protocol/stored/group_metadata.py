"""`__consumer_offsets`, key type 2: a classic group with its members.

v1 rebalance timeout, v2 time of the last change, v3 static members (KIP-345), v4 flexible (KIP-915).
"""

from typing import Final

KEY: Final = """
GroupMetadataKey  key 2  versions 0
  group  string
"""

VALUE: Final = """
GroupMetadataValue  key 2  versions 0-4  flexible 4+
  struct MemberMetadata
    member_id              string
    group_instance_id      string?           3+  = null
    client_id              string
    client_host            string
    rebalance_timeout      int32             1+  = -1
    session_timeout        int32
    subscription           bytes
    assignment             bytes
  protocol_type            string
  generation               int32
  protocol                 string?
  leader                   string?
  current_state_timestamp  int64             2+  = -1
  members                  []MemberMetadata
"""
