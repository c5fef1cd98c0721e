"""RemoveRaftVoter: remove a controller from the metadata quorum (KIP-853)."""

from typing import Final

REQUEST: Final = """
RemoveRaftVoterRequest  key 81  versions 0  flexible 0+
  cluster_id          string?
  voter_id            int32
  voter_directory_id  uuid
"""

RESPONSE: Final = """
RemoveRaftVoterResponse  key 81  versions 0  flexible 0+
  throttle_time_ms  int32
  error_code        int16
  error_message     string?
"""
