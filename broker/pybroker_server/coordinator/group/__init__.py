"""The group coordinator: members, assignments and committed offsets, over `__consumer_offsets`."""
