"""The Kafka wire protocol: frames, schemas and their compiler, record batches, errors. Pure."""
