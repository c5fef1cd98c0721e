"""OffsetCommit: store a group's positions.

v2-4 carry a retention time, v6 leader epochs (KIP-320), v7 static members (KIP-345), v8 flexible, v9 member epochs of
the consumer group protocol in place of the generation (KIP-848), v10 topics by id.
"""

from typing import Final

REQUEST: Final = """
OffsetCommitRequest  key 8  versions 2-10  flexible 8+
  group_id                       string
  generation_id_or_member_epoch  int32                                = -1
  member_id                      string
  group_instance_id              string?                         7+   = null
  retention_time_ms              int64                           2-4  = -1
  topics                         []OffsetCommitRequestTopic
    name                         string                          2-9
    topic_id                     uuid                            10
    partitions                   []OffsetCommitRequestPartition
      partition_index            int32
      committed_offset           int64
      committed_leader_epoch     int32                           6+   = -1
      committed_metadata         string?
"""

RESPONSE: Final = """
OffsetCommitResponse  key 8  versions 2-10  flexible 8+
  throttle_time_ms     int32                            3+
  topics               []OffsetCommitResponseTopic
    name               string                           2-9
    topic_id           uuid                             10
    partitions         []OffsetCommitResponsePartition
      partition_index  int32
      error_code       int16
"""
