"""OffsetForLeaderEpoch: where a leader epoch ends, by which consumers and followers find out that a log was truncated.

v2 fencing by the current epoch (KIP-320), v3 replica id, v4 flexible.
"""

from typing import Final

REQUEST: Final = """
OffsetForLeaderEpochRequest  key 23  versions 2-4  flexible 4+
  replica_id                int32                       3+  = -2
  topics                    []OffsetForLeaderTopic
    topic                   string
    partitions              []OffsetForLeaderPartition
      partition             int32
      current_leader_epoch  int32                           = -1
      leader_epoch          int32
"""

RESPONSE: Final = """
OffsetForLeaderEpochResponse  key 23  versions 2-4  flexible 4+
  throttle_time_ms  int32
  topics            []OffsetForLeaderTopicResult
    topic           string
    partitions      []EpochEndOffset
      error_code    int16
      partition     int32
      leader_epoch  int32                         = -1
      end_offset    int64                         = -1
"""
