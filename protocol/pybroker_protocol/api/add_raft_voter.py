"""AddRaftVoter: add a controller to the metadata quorum (KIP-853). v1 may be answered before it is committed."""

from typing import Final

REQUEST: Final = """
AddRaftVoterRequest  key 80  versions 0-1  flexible 0+
  cluster_id          string?
  timeout_ms          int32
  voter_id            int32
  voter_directory_id  uuid
  listeners           []Listener
    name              string
    host              string
    port              uint16
  ack_when_committed  bool        1  = true
"""

RESPONSE: Final = """
AddRaftVoterResponse  key 80  versions 0-1  flexible 0+
  throttle_time_ms  int32
  error_code        int16
  error_message     string?
"""
