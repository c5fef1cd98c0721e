"""OffsetDelete: delete a group's stored positions of some partitions (KIP-496). Never flexible."""

from typing import Final

REQUEST: Final = """
OffsetDeleteRequest  key 47  versions 0
  group_id             string
  topics               []OffsetDeleteRequestTopic
    name               string
    partitions         []OffsetDeleteRequestPartition
      partition_index  int32
"""

RESPONSE: Final = """
OffsetDeleteResponse  key 47  versions 0
  error_code           int16
  throttle_time_ms     int32
  topics               []OffsetDeleteResponseTopic
    name               string
    partitions         []OffsetDeleteResponsePartition
      partition_index  int32
      error_code       int16
"""
