"""Benchmarks: load, raw samples, and the tables that the documents show. Talks to the server over HTTP alone."""
