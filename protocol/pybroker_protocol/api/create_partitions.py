"""CreatePartitions: raise the partition count of topics. v2 flexible, v3 THROTTLING_QUOTA_EXCEEDED (KIP-599)."""

from typing import Final

REQUEST: Final = """
CreatePartitionsRequest  key 37  versions 0-3  flexible 2+
  topics          []CreatePartitionsTopic
    name          string
    count         int32
    assignments   []CreatePartitionsAssignment?
      broker_ids  []int32
  timeout_ms      int32
  validate_only   bool
"""

RESPONSE: Final = """
CreatePartitionsResponse  key 37  versions 0-3  flexible 2+
  throttle_time_ms  int32
  results           []CreatePartitionsTopicResult
    name            string
    error_code      int16
    error_message   string?                        = null
"""
