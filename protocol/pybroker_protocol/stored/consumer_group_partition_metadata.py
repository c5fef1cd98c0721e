"""`__consumer_offsets`, key type 4: partition counts of subscribed topics; now a hash instead (KIP-1101)."""

from typing import Final

KEY: Final = """
ConsumerGroupPartitionMetadataKey  key 4  versions 0
  group_id  string
"""

VALUE: Final = """
ConsumerGroupPartitionMetadataValue  key 4  versions 0  flexible 0+
  topics                []TopicMetadata
    topic_id            uuid
    topic_name          string
    num_partitions      int32
    partition_metadata  []PartitionMetadata
      partition         int32
      racks             []string
"""
