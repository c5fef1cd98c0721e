"""`__consumer_offsets`, key type 20: the epoch of a streams group's target assignment (KIP-1071)."""

from typing import Final

KEY: Final = """
StreamsGroupTargetAssignmentMetadataKey  key 20  versions 0
  group_id  string
"""

VALUE: Final = """
StreamsGroupTargetAssignmentMetadataValue  key 20  versions 0  flexible 0+
  assignment_epoch      int32
  assignment_timestamp  int64  tag 0
"""
