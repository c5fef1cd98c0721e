"""AlterReplicaLogDirs: move replicas between a broker's log directories (KIP-113). v2 flexible."""

from typing import Final

REQUEST: Final = """
AlterReplicaLogDirsRequest  key 34  versions 1-2  flexible 2+
  dirs            []AlterReplicaLogDir
    path          string
    topics        []AlterReplicaLogDirTopic
      name        string
      partitions  []int32
"""

RESPONSE: Final = """
AlterReplicaLogDirsResponse  key 34  versions 1-2  flexible 2+
  throttle_time_ms     int32
  results              []AlterReplicaLogDirTopicResult
    topic_name         string
    partitions         []AlterReplicaLogDirPartitionResult
      partition_index  int32
      error_code       int16
"""
