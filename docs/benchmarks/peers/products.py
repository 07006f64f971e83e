"""Matrix products of every peer, in GFLOP/s."""

import math
import time

import numpy as np

from .work import HIDDEN, POLICY, Sizes

# products at the same time, rows, depth, columns; the last one is what the meta-update lives on
SHAPES = ((1, Sizes.batch, HIDDEN[0], HIDDEN[0]), (1, 1024, 1024, 1024), (50, 1000, POLICY[0], POLICY[0]))
LARGE = (1, 4096, 4096, 4096)
FLOP = 4e9  # that are timed in one go


def name(shape):
    count, rows, depth, columns = shape
    product = f"[{rows}x{depth}] x [{depth}x{columns}]"
    return product if count == 1 else f"{count} times {product}"


def rate(product, left, right):
    """Of a function that returns when the result is there."""
    flop = 2 * math.prod(left.shape) * right.shape[-1]
    repetitions = math.ceil(FLOP / flop)
    product(left, right)
    begin = time.perf_counter()
    for _ in range(repetitions):
        product(left, right)
    return repetitions * flop / (time.perf_counter() - begin) / 1e9


class Products:
    """One library's product, and its matrices."""

    def __init__(self, product, array, shapes=SHAPES):
        rng = np.random.default_rng(8)
        self.product = product
        self.pairs = {}
        for shape in shapes:
            count, rows, depth, columns = shape
            several = () if count == 1 else (count,)
            left, right = ((*several, rows, depth), (*several, depth, columns))
            self.pairs[name(shape)] = [array(rng.standard_normal(s, dtype=np.float32)) for s in (left, right)]

    def run(self):
        return {shape: rate(self.product, *pair) for shape, pair in self.pairs.items()}


def of_torch():
    import torch

    return Products(torch.matmul, torch.from_numpy)


def of_jax():
    import jax
    import jax.numpy as jnp

    product = jax.jit(jnp.matmul)
    return Products(lambda left, right: product(left, right).block_until_ready(), jnp.asarray)


def of_numpy():
    return Products(np.matmul, np.asarray, (*SHAPES, LARGE))
