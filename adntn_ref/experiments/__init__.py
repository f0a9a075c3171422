"""Experiments: whole rows of a table, run from a configuration, recorded, resumed, compared, reported and drawn."""
