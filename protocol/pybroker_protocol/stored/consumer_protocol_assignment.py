"""ConsumerProtocolAssignment."""

from typing import Final

DATA: Final = """
ConsumerProtocolAssignment  versions 0-3
  assigned_partitions  []TopicPartition
    topic              string
    partitions         []int32
  user_data            bytes?            = null
"""
