"""`__consumer_offsets`, key type 10: what a member of a share group subscribes to (KIP-932)."""

from typing import Final

KEY: Final = """
ShareGroupMemberMetadataKey  key 10  versions 0
  group_id   string
  member_id  string
"""

VALUE: Final = """
ShareGroupMemberMetadataValue  key 10  versions 0  flexible 0+
  rack_id                 string?
  client_id               string
  client_host             string
  subscribed_topic_names  []string
"""
