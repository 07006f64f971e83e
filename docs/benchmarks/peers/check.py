"""Whether all ways of both peers compute the same numbers from the same parameters and data."""

import numpy as np
import torch

from .work import LOOPS, MEMBERS, Sizes

SIZES = Sizes(batch=40, steps=5, horizon=12, rollouts=6, samples=400)

# Relative, in the norm: rounding in single precision, which Adam and conjugate gradients magnify. Finite differences
# are an approximation.
TOLERANCES = {
    "parameters": 5e-3,
    "trajectories": 1e-5,
    "gradient": 1e-5,
    "step": 1e-4,
    "surrogate": 1e-4,
    "KL divergence": 1e-4,
    "trials": 0,
}
FINITE_DIFFERENCES = 1e-2


def difference(value, reference):
    value, reference = np.asarray(value, np.float64), np.asarray(reference, np.float64)
    if value.shape != reference.shape:
        return np.inf
    return float(np.linalg.norm(value - reference) / np.linalg.norm(reference))


def ensemble(loops, data, way, references):
    """What training changes, in the same order of the rows."""
    initial = [part for layer in data.parameters for part in layer]
    orders = np.stack([np.random.default_rng(k).permutation(data.rows) for k in range(MEMBERS)])
    parameters = loops.run("ensemble step", way, orders=orders).result
    changes = [np.array(value) - start for value, start in zip(parameters, initial)]
    reference = references.setdefault("ensemble step", changes)
    return {"parameters": max(map(difference, changes, reference))}


def imagination(loops, data, way, references):
    """Each way draws its own noise, which is read from its actions; from its first observations and that noise
    PyTorch's eager loop must come to the same trajectories."""
    trajectories = [np.asarray(part) for part in loops.run("imagination", way).result()]
    x = trajectories[0]
    for i, (w, b) in enumerate(data.policy):
        x = x @ w + b
        if i + 1 < len(data.policy):
            x = np.tanh(x)
    noise = trajectories[1] - x
    # hundreds of numbers: four of their own deviations
    spread = 4 / np.sqrt(noise.size)
    if abs(noise.mean()) > spread or abs(noise.std() - 1) > spread:
        return {"trajectories": np.inf}
    start = torch.from_numpy(trajectories[0][0].copy())
    reference = references["rollouts"](slice(None), start, torch.from_numpy(noise))
    return {"trajectories": max(map(difference, trajectories, reference))}


def meta(loops, data, way, references):
    result = loops.run("meta-update", way).result
    reference = references.setdefault("meta-update", result)
    return {part: difference(result[part], reference[part]) for part in reference}


def check(torch_loops, jax_loops, threads, names, compile_too, ways):
    """Prints a table of the ways with `ways` in their names; returns whether all differences are small enough. The
    first of them in PyTorch is the reference."""
    data = {name: LOOPS[name](SIZES) for name in names}
    peers = (torch_loops.Loops(data, threads, compile_too), jax_loops.Loops(data, threads))
    references = {}
    if "imagination" in data:
        references["rollouts"] = peers[0].loops["imagination"].rollouts
    kinds = {"ensemble step": ensemble, "imagination": imagination, "meta-update": meta}
    good = True
    print("| loop | how | what | relative difference | allowed | |\n|---|---|---|--:|--:|---|")
    for name in names:
        for peer, loops in zip((torch_loops.NAME, jax_loops.NAME), peers):
            for way in (way for way in loops.loops[name].ways if ways in way):
                for what, value in kinds[name](loops, data[name], way, references).items():
                    allowed = TOLERANCES[what]
                    if "finite" in way and what not in ("gradient", "trials"):
                        allowed = FINITE_DIFFERENCES
                    fine = value <= allowed
                    good &= fine
                    print(
                        f"| {name} | {peer} {way} | {what} | {value:.1e} | {allowed:.0e} | {'' if fine else 'WRONG'} |",
                        flush=True,
                    )
    return good
