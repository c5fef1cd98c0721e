"""Declarations of what is kept rather than sent: coordinator records, control records, embedded blobs."""
