"""`__consumer_offsets`, key type 23: the topology of a streams application (KIP-1071)."""

from typing import Final

KEY: Final = """
StreamsGroupTopologyKey  key 23  versions 0
  group_id  string
"""

VALUE: Final = """
StreamsGroupTopologyValue  key 23  versions 0  flexible 0+
  struct TopicConfig
    key                          string
    value                        string
  struct TopicInfo
    name                         string
    partitions                   int32
    replication_factor           int16
    topic_configs                []TopicConfig
  epoch                          int32
  subtopologies                  []Subtopology
    subtopology_id               string
    source_topics                []string
    source_topic_regex           []string
    state_changelog_topics       []TopicInfo
    repartition_sink_topics      []string
    repartition_source_topics    []TopicInfo
    copartition_groups           []CopartitionGroup
      source_topics              []int16
      source_topic_regex         []int16
      repartition_source_topics  []int16
"""
