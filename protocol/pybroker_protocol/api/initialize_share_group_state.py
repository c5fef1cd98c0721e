"""InitializeShareGroupState: between brokers: begin to keep the state of share partitions (KIP-932)."""

from typing import Final

REQUEST: Final = """
InitializeShareGroupStateRequest  key 83  versions 0  flexible 0+
  group_id          string
  topics            []InitializeStateData
    topic_id        uuid
    partitions      []PartitionData
      partition     int32
      state_epoch   int32
      start_offset  int64
"""

RESPONSE: Final = """
InitializeShareGroupStateResponse  key 83  versions 0  flexible 0+
  results            []InitializeStateResult
    topic_id         uuid
    partitions       []PartitionResult
      partition      int32
      error_code     int16
      error_message  string?                  = null
"""
