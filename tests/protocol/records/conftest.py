"""A busy machine is no reason for a property to fail: examples here have no deadline."""

from hypothesis import settings

settings.register_profile("records", deadline=None)
settings.load_profile("records")
