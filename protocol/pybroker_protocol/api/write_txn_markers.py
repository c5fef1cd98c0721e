"""WriteTxnMarkers: the coordinator has commit or abort markers appended to partitions; also the admin's abort.

v1 flexible, v2 the transaction version (KIP-1228).
"""

from typing import Final

REQUEST: Final = """
WriteTxnMarkersRequest  key 27  versions 1-2  flexible 1+
  markers                []WritableTxnMarker
    producer_id          int64
    producer_epoch       int16
    transaction_result   bool
    topics               []WritableTxnMarkerTopic
      name               string
      partition_indexes  []int32
    coordinator_epoch    int32
    transaction_version  int8                      2
"""

RESPONSE: Final = """
WriteTxnMarkersResponse  key 27  versions 1-2  flexible 1+
  markers                []WritableTxnMarkerResult
    producer_id          int64
    topics               []WritableTxnMarkerTopicResult
      name               string
      partitions         []WritableTxnMarkerPartitionResult
        partition_index  int32
        error_code       int16
"""
