"""Declarations of every API that a client of Kafka 4.3 may use, in the notation of `schema/notation.py`.

One file per API key; REQUEST and RESPONSE side by side.
"""
