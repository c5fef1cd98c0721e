"""ShareGroupHeartbeat: membership of a share group (KIP-932). v0 was for early access and is gone."""

from typing import Final

REQUEST: Final = """
ShareGroupHeartbeatRequest  key 76  versions 1  flexible 1+
  group_id                string
  member_id               string
  member_epoch            int32
  rack_id                 string?    = null
  subscribed_topic_names  []string?  = null
"""

RESPONSE: Final = """
ShareGroupHeartbeatResponse  key 76  versions 1  flexible 1+
  struct TopicPartitions
    topic_id             uuid
    partitions           []int32
  throttle_time_ms       int32
  error_code             int16
  error_message          string?            = null
  member_id              string?            = null
  member_epoch           int32
  heartbeat_interval_ms  int32
  assignment             Assignment?
    topic_partitions     []TopicPartitions
"""
