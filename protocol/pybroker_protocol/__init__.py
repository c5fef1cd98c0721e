"""The Kafka wire protocol: frames, schemas and their compiler, record batches, errors. Pure."""

__version__ = "0.1.0"
