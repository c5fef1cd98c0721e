"""The load generator: drives pybroker, or any Kafka, and tells the truth about what it saw."""
