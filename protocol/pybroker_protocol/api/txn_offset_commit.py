"""TxnOffsetCommit: store a group's positions when the transaction commits.

v2 leader epochs, v3 flexible and checked against the group's membership (KIP-447), v4 TRANSACTION_ABORTABLE, v5 adds
the group to the transaction by itself (KIP-890).
"""

from typing import Final

REQUEST: Final = """
TxnOffsetCommitRequest  key 28  versions 0-5  flexible 3+
  transactional_id            string
  group_id                    string
  producer_id                 int64
  producer_epoch              int16
  generation_id               int32                              3+  = -1
  member_id                   string                             3+
  group_instance_id           string?                            3+  = null
  topics                      []TxnOffsetCommitRequestTopic
    name                      string
    partitions                []TxnOffsetCommitRequestPartition
      partition_index         int32
      committed_offset        int64
      committed_leader_epoch  int32                              2+  = -1
      committed_metadata      string?
"""

RESPONSE: Final = """
TxnOffsetCommitResponse  key 28  versions 0-5  flexible 3+
  throttle_time_ms     int32
  topics               []TxnOffsetCommitResponseTopic
    name               string
    partitions         []TxnOffsetCommitResponsePartition
      partition_index  int32
      error_code       int16
"""
