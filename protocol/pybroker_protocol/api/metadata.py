"""Metadata: the brokers, and the partitions of some or all topics with their leaders.

v0 asks for all topics by an empty list; from v1 that is null, and empty means none. v4 auto-creation on demand, v5
offline replicas, v7 leader epochs (KIP-320), v8 authorised operations (KIP-430), v9 flexible, v10 topic ids in answers
and v12 in questions (KIP-516), v11 without cluster operations (KIP-700), v13 a top-level error (KIP-1102).
"""

from typing import Final

REQUEST: Final = """
MetadataRequest  key 3  versions 0-13  flexible 9+
  topics                                 []MetadataRequestTopic?1+
    topic_id                             uuid                       10+
    name                                 string?10+
  allow_auto_topic_creation              bool                       4+    = true
  include_cluster_authorized_operations  bool                       8-10
  include_topic_authorized_operations    bool                       8+
"""

RESPONSE: Final = """
MetadataResponse  key 3  versions 0-13  flexible 9+
  throttle_time_ms               int32                        3+
  brokers                        []MetadataResponseBroker
    node_id                      int32
    host                         string
    port                         int32
    rack                         string?                      1+    = null
  cluster_id                     string?                      2+    = null
  controller_id                  int32                        1+    = -1
  topics                         []MetadataResponseTopic
    error_code                   int16
    name                         string?12+
    topic_id                     uuid                         10+
    is_internal                  bool                         1+
    partitions                   []MetadataResponsePartition
      error_code                 int16
      partition_index            int32
      leader_id                  int32
      leader_epoch               int32                        7+    = -1
      replica_nodes              []int32
      isr_nodes                  []int32
      offline_replicas           []int32                      5+
    topic_authorized_operations  int32                        8+    = -2147483648
  cluster_authorized_operations  int32                        8-10  = -2147483648
  error_code                     int16                        13
"""
