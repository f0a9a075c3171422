"""Hostile input: a small harness for every reader, run by ``run.py`` under coverage and by the test-suite on seeds."""
