"""What the leader of a classic group assigns to a consumer, in SyncGroup's assignment. Preceded by its version (int16).

The versions of the subscription; the fields never changed.
"""

from typing import Final

DATA: Final = """
ConsumerProtocolAssignment  versions 0-3
  assigned_partitions  []TopicPartition
    topic              string
    partitions         []int32
  user_data            bytes?            = null
"""
