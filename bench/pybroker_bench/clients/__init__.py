"""The clients that drive a broker, each behind the same few calls (`base.py`), imported when one is asked for."""
