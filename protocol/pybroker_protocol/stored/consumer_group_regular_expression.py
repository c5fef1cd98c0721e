"""`__consumer_offsets`, key type 16: the topics that a group's regular expression matched, as of when (KIP-848)."""

from typing import Final

KEY: Final = """
ConsumerGroupRegularExpressionKey  key 16  versions 0
  group_id            string
  regular_expression  string
"""

VALUE: Final = """
ConsumerGroupRegularExpressionValue  key 16  versions 0  flexible 0+
  topics     []string
  version    int64
  timestamp  int64
"""
