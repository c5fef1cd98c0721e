"""classic of a group shard."""
