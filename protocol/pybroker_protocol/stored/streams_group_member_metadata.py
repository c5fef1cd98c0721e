"""`__consumer_offsets`, key type 19: a member of a streams group (KIP-1071)."""

from typing import Final

KEY: Final = """
StreamsGroupMemberMetadataKey  key 19  versions 0
  group_id   string
  member_id  string
"""

VALUE: Final = """
StreamsGroupMemberMetadataValue  key 19  versions 0  flexible 0+
  struct Endpoint
    host                string
    port                uint16
  struct KeyValue
    key                 string
    value               string
  instance_id           string?
  rack_id               string?
  client_id             string
  client_host           string
  rebalance_timeout_ms  int32       = -1
  topology_epoch        int32
  process_id            string
  user_endpoint         Endpoint?
  client_tags           []KeyValue
"""
