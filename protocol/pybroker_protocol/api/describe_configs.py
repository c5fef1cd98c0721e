"""DescribeConfigs: the configuration of topics, brokers and other resources, with where each value comes from.

v1 synonyms and sources (KIP-226), v3 types and documentation (KIP-569), v4 flexible.
"""

from typing import Final

REQUEST: Final = """
DescribeConfigsRequest  key 32  versions 1-4  flexible 4+
  resources              []DescribeConfigsResource
    resource_type        int8
    resource_name        string
    configuration_keys   []string?
  include_synonyms       bool
  include_documentation  bool                       3+
"""

RESPONSE: Final = """
DescribeConfigsResponse  key 32  versions 1-4  flexible 4+
  throttle_time_ms   int32
  results            []DescribeConfigsResult
    error_code       int16
    error_message    string?
    resource_type    int8
    resource_name    string
    configs          []DescribeConfigsResourceResult
      name           string
      value          string?
      read_only      bool
      config_source  int8                                 = -1
      is_sensitive   bool
      synonyms       []DescribeConfigsSynonym
        name         string
        value        string?
        source       int8
      config_type    int8                             3+
      documentation  string?                          3+
"""
