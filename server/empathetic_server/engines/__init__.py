"""Engines: the protocols that the server needs, and one adapter per technology."""
