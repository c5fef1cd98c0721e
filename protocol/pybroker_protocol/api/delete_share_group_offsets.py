"""DeleteShareGroupOffsets: delete an empty share group's offsets of some topics (KIP-932)."""

from typing import Final

REQUEST: Final = """
DeleteShareGroupOffsetsRequest  key 92  versions 0  flexible 0+
  group_id      string
  topics        []DeleteShareGroupOffsetsRequestTopic
    topic_name  string
"""

RESPONSE: Final = """
DeleteShareGroupOffsetsResponse  key 92  versions 0  flexible 0+
  throttle_time_ms  int32
  error_code        int16
  error_message     string?                                 = null
  responses         []DeleteShareGroupOffsetsResponseTopic
    topic_name      string
    topic_id        uuid
    error_code      int16
    error_message   string?                                 = null
"""
