"""DeleteRecords: raise the log start offset of partitions; -1 stands for the high watermark. v2 flexible."""

from typing import Final

REQUEST: Final = """
DeleteRecordsRequest  key 21  versions 0-2  flexible 2+
  topics               []DeleteRecordsTopic
    name               string
    partitions         []DeleteRecordsPartition
      partition_index  int32
      offset           int64
  timeout_ms           int32
"""

RESPONSE: Final = """
DeleteRecordsResponse  key 21  versions 0-2  flexible 2+
  throttle_time_ms     int32
  topics               []DeleteRecordsTopicResult
    name               string
    partitions         []DeleteRecordsPartitionResult
      partition_index  int32
      low_watermark    int64
      error_code       int16
"""
