"""Produce: append record batches to partitions, acknowledged as `acks` asks (0: no response at all).

v3 is the oldest that 4.x accepts (0-2 are advertised for old librdkafka, KAFKA-18659). v7 zstd (KIP-110), v8 errors
per record (KIP-467), v9 flexible, v10 the current leader on NOT_LEADER (KIP-951), v11-12 transactions version 2
(KIP-890), v13 topics by id (KIP-516).
"""

from typing import Final

REQUEST: Final = """
ProduceRequest  key 0  versions 3-13  flexible 9+
  transactional_id  string?                       = null
  acks              int16
  timeout_ms        int32
  topic_data        []TopicProduceData
    name            string                  3-12
    topic_id        uuid                    13
    partition_data  []PartitionProduceData
      index         int32
      records       records?
"""

RESPONSE: Final = """
ProduceResponse  key 0  versions 3-13  flexible 9+
  responses                        []TopicProduceResponse
    name                           string                       3-12
    topic_id                       uuid                         13
    partition_responses            []PartitionProduceResponse
      index                        int32
      error_code                   int16
      base_offset                  int64
      log_append_time_ms           int64                                     = -1
      log_start_offset             int64                        5+           = -1
      record_errors                []BatchIndexAndErrorMessage  8+
        batch_index                int32
        batch_index_error_message  string?                                   = null
      error_message                string?                      8+           = null
      current_leader               LeaderIdAndEpoch             10+   tag 0
        leader_id                  int32                                     = -1
        leader_epoch               int32                                     = -1
  throttle_time_ms                 int32
  node_endpoints                   []NodeEndpoint               10+   tag 0
    node_id                        int32
    host                           string
    port                           int32
    rack                           string?                                   = null
"""
