"""The transaction coordinator: who writes under a transactional id, and how its transactions end (KIP-98, KIP-890)."""
