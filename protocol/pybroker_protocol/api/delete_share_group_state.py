"""DeleteShareGroupState: between brokers: forget the state of share partitions (KIP-932)."""

from typing import Final

REQUEST: Final = """
DeleteShareGroupStateRequest  key 86  versions 0  flexible 0+
  group_id       string
  topics         []DeleteStateData
    topic_id     uuid
    partitions   []PartitionData
      partition  int32
"""

RESPONSE: Final = """
DeleteShareGroupStateResponse  key 86  versions 0  flexible 0+
  results            []DeleteStateResult
    topic_id         uuid
    partitions       []PartitionResult
      partition      int32
      error_code     int16
      error_message  string?              = null
"""
