"""Coordinators: state that lives in the partitions of internal topics (design D8).

`host.py` is the shell that loads, runs and unloads; everything else here is pure.
"""
