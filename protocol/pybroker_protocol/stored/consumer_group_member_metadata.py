"""`__consumer_offsets`, key type 5: what a member of a consumer group subscribes to and can do (KIP-848)."""

from typing import Final

KEY: Final = """
ConsumerGroupMemberMetadataKey  key 5  versions 0
  group_id   string
  member_id  string
"""

VALUE: Final = """
ConsumerGroupMemberMetadataValue  key 5  versions 0  flexible 0+
  instance_id              string?
  rack_id                  string?
  client_id                string
  client_host              string
  subscribed_topic_names   []string
  subscribed_topic_regex   string?
  rebalance_timeout_ms     int32                          = -1
  server_assignor          string?
  classic_member_metadata  ClassicMemberMetadata?  tag 0
    session_timeout_ms     int32
    supported_protocols    []ClassicProtocol
      name                 string
      metadata             bytes
"""
