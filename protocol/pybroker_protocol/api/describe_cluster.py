"""DescribeCluster: brokers, controller and cluster id (KIP-700).

v1 asks for brokers or controllers (KIP-919), v2 may include fenced brokers (KIP-1073).
"""

from typing import Final

REQUEST: Final = """
DescribeClusterRequest  key 60  versions 0-2  flexible 0+
  include_cluster_authorized_operations  bool
  endpoint_type                          int8  1+  = 1
  include_fenced_brokers                 bool  2
"""

RESPONSE: Final = """
DescribeClusterResponse  key 60  versions 0-2  flexible 0+
  throttle_time_ms               int32
  error_code                     int16
  error_message                  string?                      = null
  endpoint_type                  int8                     1+  = 1
  cluster_id                     string
  controller_id                  int32                        = -1
  brokers                        []DescribeClusterBroker
    broker_id                    int32
    host                         string
    port                         int32
    rack                         string?                      = null
    is_fenced                    bool                     2
  cluster_authorized_operations  int32                        = -2147483648
"""
