"""Consumer groups: many services share the partitions of their topics, and go on where they left off.

`member.py` keeps the membership, by one of two protocols: `server_side.py` (KIP-848, the broker assigns) or
`classic.py` (the leader among the members assigns, by `assignors.py`). `handover.py` moves partitions between the group
and the consumer, in the order that loses nothing; `committed.py` stores and reads offsets.
"""
