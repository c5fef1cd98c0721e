"""`__consumer_offsets`, key type 17: the epoch of a streams group (KIP-1071)."""

from typing import Final

KEY: Final = """
StreamsGroupMetadataKey  key 17  versions 0
  group_id  string
"""

VALUE: Final = """
StreamsGroupMetadataValue  key 17  versions 0  flexible 0+
  struct LastAssignmentConfig
    key                     string
    value                   string
  epoch                     int32
  metadata_hash             int64
  validated_topology_epoch  int32                    tag 0  = -1
  last_assignment_configs   []LastAssignmentConfig?  tag 1  = null
"""
