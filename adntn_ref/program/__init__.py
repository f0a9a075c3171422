"""Programs: what a step is, how a list of steps is run, what it costs, and how its cores start.

Every network is a program: a start state and a list of steps (see :mod:`adntn_ref.program.steps`). A topology is a
file of data that lists steps; nothing here knows of topologies.
"""
