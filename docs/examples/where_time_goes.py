"""Where the time of a brick-wall's gradient goes, by cProfile on one thread: ``python where_time_goes.py 16 20``."""

import cProfile
import os
import pstats
import sys

os.environ.update(ADNTN_REF_THREADS="1", OPENBLAS_NUM_THREADS="1")

import numpy as np  # after the number of threads is set

import adntn_ref as ar

for modes in map(int, sys.argv[1:] or ("12", "16", "20")):
    net = ar.BrickWall((2**modes,), layers=4)
    params, g = net.init(0, dtype="float32"), np.ones(2**modes, "float32")
    net.vjp(params)[1](g)
    runs, profile = max(3, 2 ** (20 - modes)), cProfile.Profile()
    profile.enable()
    for _ in range(runs):
        net.vjp(params)[1](g)
    profile.disable()
    found = pstats.Stats(profile)
    own = {"apply": 0.0, "environment": 0.0, "carry_back": 0.0, "_gathered": 0.0, "maximum": 0.0}
    for (file, _, name), (_, _, self_time, all_time, _) in found.stats.items():
        if name in own and "numpy_" in file:
            own[name] += all_time
        elif name == "<lambda>" and "numpy_windows" in file:
            own["maximum"] += self_time
    shares = {name: f"{100 * seconds / found.total_tt:.0f} %" for name, seconds in own.items()}
    print(f"Q = {modes}: {1000 * found.total_tt / runs:.3g} ms a run, {found.total_calls // runs} calls; {shares}")
