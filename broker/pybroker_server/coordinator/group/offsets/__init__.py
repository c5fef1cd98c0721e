"""offsets of a group shard."""
