"""`__consumer_offsets`, key type 6: the epoch of a consumer group's target assignment, and its time (KIP-1263)."""

from typing import Final

KEY: Final = """
ConsumerGroupTargetAssignmentMetadataKey  key 6  versions 0
  group_id  string
"""

VALUE: Final = """
ConsumerGroupTargetAssignmentMetadataValue  key 6  versions 0  flexible 0+
  assignment_epoch      int32
  assignment_timestamp  int64  tag 0
"""
