"""OffsetFetch: a group's stored positions, of some or all topics.

v2 null topics for all and a top-level error, v5 leader epochs, v6 flexible, v7 `require_stable` (KIP-447), v8 several
groups at once (KIP-709), v9 member epochs (KIP-848), v10 topics by id.
"""

from typing import Final

REQUEST: Final = """
OffsetFetchRequest  key 9  versions 1-10  flexible 6+
  group_id               string                        1-7
  topics                 []OffsetFetchRequestTopic?2+  1-7
    name                 string
    partition_indexes    []int32
  groups                 []OffsetFetchRequestGroup     8+
    group_id             string
    member_id            string?                       9+   = null
    member_epoch         int32                         9+   = -1
    topics               []OffsetFetchRequestTopics?
      name               string                        8-9
      topic_id           uuid                          10
      partition_indexes  []int32
  require_stable         bool                          7+
"""

RESPONSE: Final = """
OffsetFetchResponse  key 9  versions 1-10  flexible 6+
  throttle_time_ms              int32                            3+
  topics                        []OffsetFetchResponseTopic       1-7
    name                        string
    partitions                  []OffsetFetchResponsePartition
      partition_index           int32
      committed_offset          int64
      committed_leader_epoch    int32                            5+   = -1
      metadata                  string?
      error_code                int16
  error_code                    int16                            2-7
  groups                        []OffsetFetchResponseGroup       8+
    group_id                    string
    topics                      []OffsetFetchResponseTopics
      name                      string                           8-9
      topic_id                  uuid                             10
      partitions                []OffsetFetchResponsePartitions
        partition_index         int32
        committed_offset        int64
        committed_leader_epoch  int32                                 = -1
        metadata                string?
        error_code              int16
    error_code                  int16
"""
