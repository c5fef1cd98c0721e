"""DeleteTopics: delete topics. v4 flexible, v5 error messages, throttling (KIP-599), v6 by name or id (KIP-516)."""

from typing import Final

REQUEST: Final = """
DeleteTopicsRequest  key 20  versions 1-6  flexible 4+
  topics       []DeleteTopicState  6
    name       string?                  = null
    topic_id   uuid
  topic_names  []string            1-5
  timeout_ms   int32
"""

RESPONSE: Final = """
DeleteTopicsResponse  key 20  versions 1-6  flexible 4+
  throttle_time_ms  int32
  responses         []DeletableTopicResult
    name            string?6
    topic_id        uuid                    6
    error_code      int16
    error_message   string?                 5+  = null
"""
