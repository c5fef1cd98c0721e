"""AddPartitionsToTxn: partitions become part of a transaction.

v0-3 come from clients, one transaction each; v3 flexible. v4 and later come from brokers, several transactions at
once, or only ask whether partitions are part (KIP-890); v5 TRANSACTION_ABORTABLE.
"""

from typing import Final

REQUEST: Final = """
AddPartitionsToTxnRequest  key 24  versions 0-5  flexible 3+
  struct AddPartitionsToTxnTopic
    name                         string
    partitions                   []int32
  transactions                   []AddPartitionsToTxnTransaction  4+
    transactional_id             string
    producer_id                  int64
    producer_epoch               int16
    verify_only                  bool
    topics                       []AddPartitionsToTxnTopic
  v3_and_below_transactional_id  string                           0-3
  v3_and_below_producer_id       int64                            0-3
  v3_and_below_producer_epoch    int16                            0-3
  v3_and_below_topics            []AddPartitionsToTxnTopic        0-3
"""

RESPONSE: Final = """
AddPartitionsToTxnResponse  key 24  versions 0-5  flexible 3+
  struct AddPartitionsToTxnPartitionResult
    partition_index              int32
    partition_error_code         int16
  struct AddPartitionsToTxnTopicResult
    name                         string
    results_by_partition         []AddPartitionsToTxnPartitionResult
  throttle_time_ms               int32
  error_code                     int16                                4+
  results_by_transaction         []AddPartitionsToTxnResult           4+
    transactional_id             string
    topic_results                []AddPartitionsToTxnTopicResult
  results_by_topic_v3_and_below  []AddPartitionsToTxnTopicResult      0-3
"""
