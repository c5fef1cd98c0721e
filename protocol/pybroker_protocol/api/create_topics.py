"""CreateTopics: create topics, with counts or with a replica assignment by hand.

v4 counts of -1 for the broker's defaults (KIP-464), v5 flexible and the effective configuration in the answer
(KIP-525), v6 THROTTLING_QUOTA_EXCEEDED (KIP-599), v7 topic ids in the answer (KIP-516).
"""

from typing import Final

REQUEST: Final = """
CreateTopicsRequest  key 19  versions 2-7  flexible 5+
  topics                []CreatableTopic
    name                string
    num_partitions      int32
    replication_factor  int16
    assignments         []CreatableReplicaAssignment
      partition_index   int32
      broker_ids        []int32
    configs             []CreatableTopicConfig
      name              string
      value             string?
  timeout_ms            int32                         = 60000
  validate_only         bool
"""

RESPONSE: Final = """
CreateTopicsResponse  key 19  versions 2-7  flexible 5+
  throttle_time_ms           int32
  topics                     []CreatableTopicResult
    name                     string
    topic_id                 uuid                      7
    error_code               int16
    error_message            string?
    topic_config_error_code  int16                     5+  tag 0
    num_partitions           int32                     5+         = -1
    replication_factor       int16                     5+         = -1
    configs                  []CreatableTopicConfigs?  5+
      name                   string
      value                  string?
      read_only              bool
      config_source          int8                                 = -1
      is_sensitive           bool
"""
