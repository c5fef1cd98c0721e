"""Connections that this broker makes to the others of its cluster: `peers.py` is what other rooms use."""
