"""ConsumerProtocolSubscription."""

from typing import Final

DATA: Final = """
ConsumerProtocolSubscription  versions 0-3
  topics            []string
  user_data         bytes?                = null
  owned_partitions  []TopicPartition  1+
    topic           string
    partitions      []int32
  generation_id     int32             2+  = -1
  rack_id           string?           3   = null
"""
