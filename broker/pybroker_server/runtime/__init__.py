"""The outside world behind narrow interfaces: see `ports.py`."""
