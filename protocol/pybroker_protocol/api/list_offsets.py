"""ListOffsets: the offset of a timestamp in a partition; special: -1 latest, -2 earliest, -3 greatest timestamp.

v2 read_committed, v4 leader epoch, v5 OFFSET_NOT_AVAILABLE after an election, v6 flexible, v7 -3 (KIP-734),
v8 -4 and v9 -5 for tiered logs (KIP-405, KIP-1005), v10 a timeout (KIP-1075), v11 -6 (KIP-1023).
"""

from typing import Final

REQUEST: Final = """
ListOffsetsRequest  key 2  versions 1-11  flexible 6+
  replica_id                int32
  isolation_level           int8                    2+
  topics                    []ListOffsetsTopic
    name                    string
    partitions              []ListOffsetsPartition
      partition_index       int32
      current_leader_epoch  int32                   4+   = -1
      timestamp             int64
  timeout_ms                int32                   10+
"""

RESPONSE: Final = """
ListOffsetsResponse  key 2  versions 1-11  flexible 6+
  throttle_time_ms     int32                           2+
  topics               []ListOffsetsTopicResponse
    name               string
    partitions         []ListOffsetsPartitionResponse
      partition_index  int32
      error_code       int16
      timestamp        int64                               = -1
      offset           int64                               = -1
      leader_epoch     int32                           4+  = -1
"""
