#!/usr/bin/env python3
"""The three hot loops of `cargo xtask bench` in PyTorch and JAX: same work, same sizes, same number of threads.

    pip install torch jax numpy threadpoolctl    # Python 3.10 or later; the processor's builds are enough
    cargo build -p xtask                         # optimised as well
    python docs/benchmarks/hot_loops.py --check  # whether PyTorch and JAX compute the same
    python docs/benchmarks/hot_loops.py --ours target/debug/xtask

Ctrl-C ends it early with the medians of what there is. OpenMP's threads wait for each other busily: on a machine that
does other things too, the numbers of PyTorch and OpenBLAS say little.

Without `--ours` only the peers are measured. With it, our program runs in every round as well, so that what else the
machine does slows all alike; medians over the rounds count. Every way that a peer has of doing a loop is timed, and the
best one is compared. What JAX and `torch.compile` compile is compiled in a round that does not count.

- **ensemble step**: Adam steps of 5 networks 23-512-512-17 with weight normalisation and ReLU, mean squared error,
  batches of 500 rows gathered from a table. PyTorch: all networks in one batched product; one after another; side by
  side in Python threads with single-threaded operators inside; each eager and `torch.compile`d, with fused Adam. JAX:
  an epoch as one program with `lax.scan`, or a call for each step; batched by `vmap`, unrolled in one program, or a
  program for each network, also side by side in Python threads; buffers donated.
- **imagination**: 5 x 100 rollouts of 200 steps; policy 17-32-32-6, weight normalisation and standardisation folded
  into plain weights, predictions clipped, all steps kept, rewards computed. No gradients. The noise of all steps is
  drawn at once. JAX takes long over it: beside two of its generators stand noise by NumPy and "noise given", which is
  drawn before the clock starts and does not count as best.
- **meta-update**: 5 tasks with 10,000 samples before adapting and 10,000 after. The vanilla policy gradient with its
  graph, the surrogate at the adapted parameters and its gradient, 11 products of the Hessian of the KL divergence (10
  iterations of conjugate gradients, one for the length of the step), a line search of up to 15 trials. The products in
  PyTorch by double backward of one graph that is kept, or by symmetric finite differences of the gradient
  (`torch.compile` does not support double backward); in JAX forward over reverse, by double backward, or through the
  adapted parameters (`J F J`).

The peers standardise no data and validate nothing, which our ensemble step does. GFLOP/s count the matrix products that
the shapes ask for, the same numbers as in our program (`xtask/src/bench`), however the loop is done.
"""

import argparse
import dataclasses
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from peers import machine

NAMES = ("ensemble step", "imagination", "meta-update")


def ours(program, threads):
    """What our program measures in one round."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        command = [program, "bench", "--rounds", "1", "--threads", str(threads), "--json", file.name]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return json.load(file)


def parsed():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", type=Path, help="our program, `target/debug/xtask`")
    parser.add_argument("--threads", type=int, default=machine.cores(), help="[%(default)s]")
    parser.add_argument("--rounds", type=int, default=7, help="of which the median is shown [%(default)s]")
    parser.add_argument("--only", choices=NAMES, help="this loop alone")
    parser.add_argument("--ways", default="", help="only ways of PyTorch and JAX whose names have this in them")
    parser.add_argument("--no-compile", action="store_true", help="leave `torch.compile` out")
    parser.add_argument("--no-torch", action="store_true", help="leave PyTorch out")
    parser.add_argument("--no-jax", action="store_true", help="leave JAX out")
    parser.add_argument("--check", action="store_true", help="compare what they compute, and measure nothing")
    return parser.parse_args()


def one_round(peers, products, rates, samples):
    """Everything once, in turn. `rates` are by library, `samples` by loop, peer and way."""
    for library, of in products.items():
        rates[library].append(of.run())
    for name, peer, way in list(samples):
        try:
            sample = peers[peer].run(name, way)
        except Exception as error:
            # it needs a compiler that not every machine has
            if "compiled" not in way:
                raise
            print(f"{name}, {peer}: {way}: does not work ({type(error).__name__})", file=sys.stderr)
            del samples[name, peer, way]
            continue
        # what was computed is not kept
        samples[name, peer, way].append(dataclasses.replace(sample, result=None))


def main():
    arguments = parsed()
    # before any peer is imported, hence their imports stand below
    machine.unpin()
    machine.restrict(arguments.threads)
    names = [arguments.only] if arguments.only else NAMES
    threads, compile_too = arguments.threads, not arguments.no_compile

    if arguments.check:
        from peers import check, jax_loops, torch_loops

        same = check.check(torch_loops, jax_loops, threads, names, compile_too, arguments.ways)
        sys.exit(0 if same else "they differ")

    from peers import products, report, work

    data = {name: work.LOOPS[name](work.Sizes()) for name in names}
    peers, multiplied, rows = {}, {}, []
    if not arguments.no_torch:
        from peers import torch_loops

        peers["PyTorch"] = torch_loops.Loops(data, threads, compile_too)
        multiplied["PyTorch"] = products.of_torch()
        rows.append(machine.torch_row(threads))
    if not arguments.no_jax:
        from peers import jax_loops

        peers["JAX"] = jax_loops.Loops(data, threads)
        multiplied["JAX"] = products.of_jax()
        rows.append(machine.jax_row())
    multiplied["NumPy"] = products.of_numpy()
    rows.append(machine.numpy_row())

    samples = {
        (name, peer, way): []
        for name in names
        for peer, loops in peers.items()
        for way in loops.loops[name].ways
        if arguments.ways in way
    }
    rates, own = {library: [] for library in multiplied}, []
    # the first round only warms up
    try:
        for index in range(arguments.rounds + 1):
            print(f"round {index} of {arguments.rounds}", file=sys.stderr)
            one_round(peers, multiplied, rates, samples)
            if arguments.ours and index > 0:
                own.append(ours(arguments.ours.resolve(strict=True), threads))
    except KeyboardInterrupt:
        print("interrupted: medians of what there is", file=sys.stderr)
    rates = {library: rounds[1:] for library, rounds in rates.items()}
    samples = {key: values[1:] for key, values in samples.items()}
    if not all(rates.values()):
        sys.exit("no round was measured")

    report.machine(*machine.processor(), rows)
    if not samples:
        sys.exit("nothing was measured: see --ways, --no-torch and --no-jax")
    counts = [len(values) for values in samples.values()]
    if min(counts) == max(counts):
        print(f"\nMedians of {max(counts)} rounds.")
    else:
        print(f"\nInterrupted: {min(counts)} to {max(counts)} rounds; ways without one are left out.")
    fastest = report.loops(samples, report.rates(rates))
    if own:
        report.comparison(own, fastest)
    else:
        report.best(fastest)


if __name__ == "__main__":
    main()
