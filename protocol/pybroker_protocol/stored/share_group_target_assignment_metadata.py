"""`__consumer_offsets`, key type 12: the epoch of a share group's target assignment (KIP-932)."""

from typing import Final

KEY: Final = """
ShareGroupTargetAssignmentMetadataKey  key 12  versions 0
  group_id  string
"""

VALUE: Final = """
ShareGroupTargetAssignmentMetadataValue  key 12  versions 0  flexible 0+
  assignment_epoch      int32
  assignment_timestamp  int64  tag 0
"""
