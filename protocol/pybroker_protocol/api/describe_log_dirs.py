"""DescribeLogDirs: log directories of a broker and the replicas in them (KIP-113).

v2 flexible, v3 a top-level error, v4 total and usable bytes (KIP-827), v5 which directories are cordoned (KIP-1066).
"""

from typing import Final

REQUEST: Final = """
DescribeLogDirsRequest  key 35  versions 1-5  flexible 2+
  topics        []DescribableLogDirTopic?
    topic       string
    partitions  []int32
"""

RESPONSE: Final = """
DescribeLogDirsResponse  key 35  versions 1-5  flexible 2+
  throttle_time_ms       int32
  error_code             int16                       3+
  results                []DescribeLogDirsResult
    error_code           int16
    log_dir              string
    topics               []DescribeLogDirsTopic
      name               string
      partitions         []DescribeLogDirsPartition
        partition_index  int32
        partition_size   int64
        offset_lag       int64
        is_future_key    bool
    total_bytes          int64                       4+  = -1
    usable_bytes         int64                       4+  = -1
    is_cordoned          bool                        5
"""
