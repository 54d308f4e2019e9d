"""A fuzzer of metarl's own: bad inputs, damaged files, unruly environments, signals and full disks.

A minute of it runs with the tests. `pytest -m fuzz` goes on for METARL_FUZZ_MINUTES (default 60).
"""
