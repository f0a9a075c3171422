"""Time one training step of a generated nn.Linear(400, 120), by each way to its gradient.

    python docs/examples/interop_step.py

Forward, backward and a step of Adam, batch 64, float32, PyTorch and our runner on two threads each. The ways take
turns; printed are the least and the median time of 40 rounds, and the least time of all threads together.
"""

import os
import statistics
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "2")

import torch

import adntn_ref as ar
from adntn_ref.interop.torch import WAYS, compress_

ROUNDS = 40


def stepper(way):
    """Return a function that takes one training step."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(400, 120)
    if way != "dense":
        compress_(layer, "weight", ar.BrickWall((120, 400), layers=5), backward=way)
    optimiser = torch.optim.Adam(layer.parameters(), lr=1e-3)
    x, y = torch.randn(64, 400), torch.randn(64, 120)

    def step():
        optimiser.zero_grad()
        torch.nn.functional.mse_loss(layer(x), y).backward()
        optimiser.step()

    return step


torch.set_num_threads(2)
steps = {way: stepper(way) for way in ("dense", *WAYS)}
times = {way: [] for way in steps}
busy = {way: [] for way in steps}
for _ in range(ROUNDS):
    for way, step in steps.items():
        begun, worked = time.perf_counter(), time.process_time()
        step()
        times[way].append(1e3 * (time.perf_counter() - begun))
        busy[way].append(1e3 * (time.process_time() - worked))
print(f"{'backward':14}{'least ms':>10}{'median ms':>11}{'processor ms':>14}")
for way, taken in times.items():
    print(f"{way:14}{min(taken):10.2f}{statistics.median(taken):11.2f}{min(busy[way]):14.2f}")
