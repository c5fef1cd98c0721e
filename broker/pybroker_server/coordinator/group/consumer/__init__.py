"""KIP-848 of a group shard."""
