"""Committed offsets: how far each group has come in each partition.

`store.py` is the state, `offsets.py` what clients and time do to it, `records.py` how it is written.
"""
