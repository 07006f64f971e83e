"""The work that every peer does: sizes, data, how many operations it asks for, and the trust-region step."""

import math
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

OBSERVATION, ACTION = 17, 6
MEMBERS, HIDDEN = 5, (512, 512)
POLICY = (32, 32)
CLIP = 1000.0
LEARNING_RATE, BETA_1, BETA_2, EPSILON = 1e-3, 0.9, 0.999, 1e-8
ALPHA = 0.001
MAX_KL, DAMPING, CG_ITERATIONS, BACKTRACKS, BACKTRACK_RATIO = 0.01, 1e-5, 10, 15, 0.8

MODEL_SIZES = (OBSERVATION + ACTION, *HIDDEN, OBSERVATION)
POLICY_SIZES = (OBSERVATION, *POLICY, ACTION)


@dataclass(frozen=True)
class Sizes:
    """The amounts that `--check` makes smaller."""

    batch: int = 500
    steps: int = 64  # Adam steps that are timed in one go
    horizon: int = 200
    rollouts: int = 100
    samples: int = 10_000  # of a task, before adapting and again after


@dataclass
class Sample:
    """One measurement."""

    seconds: float
    flop: float
    parts: dict[str, float] = field(default_factory=dict)
    result: Any = None  # what was computed, for `--check`


def layers(sizes):
    return list(zip(sizes, sizes[1:]))


def multiplications(sizes):
    return [inputs * outputs for inputs, outputs in layers(sizes)]


def normal(rng, *shape):
    return rng.standard_normal(shape, dtype=np.float32)


def uniform(rng, limit, *shape):
    return rng.uniform(-limit, limit, shape).astype(np.float32)


def glorot(inputs, outputs):
    return math.sqrt(6 / (inputs + outputs))


class EnsembleData:
    """A table of transitions and networks: direction, gain and bias of each layer, [members, ...]."""

    def __init__(self, sizes):
        rng = np.random.default_rng(1)
        count = multiplications(MODEL_SIZES)
        self.sizes = sizes
        self.rows = sizes.steps * sizes.batch
        self.inputs = normal(rng, self.rows, OBSERVATION + ACTION)
        self.targets = normal(rng, self.rows, OBSERVATION)
        self.parameters = [
            (
                uniform(rng, glorot(i, o), MEMBERS, i, o),
                np.ones((MEMBERS, 1, o), np.float32),
                np.zeros((MEMBERS, 1, o), np.float32),
            )
            for i, o in layers(MODEL_SIZES)
        ]
        self.flop = 2 * (3 * sum(count) - count[0]) * sizes.batch * MEMBERS


class ImaginationData:
    """Models and a policy as plain weights and biases, [members, ...] and [...]."""

    def __init__(self, sizes):
        rng = np.random.default_rng(2)

        def weights(inputs, outputs, *members, scale=1.0):
            limit = scale * glorot(inputs, outputs)
            return uniform(rng, limit, *members, inputs, outputs), np.zeros((*members, 1, outputs), np.float32)

        self.sizes = sizes
        # small changes, so that what is imagined does not run away
        self.model = [weights(i, o, MEMBERS, scale=0.1 if o == OBSERVATION else 1.0) for i, o in layers(MODEL_SIZES)]
        self.policy = [weights(i, o) for i, o in layers(POLICY_SIZES)]
        count = sum(multiplications(MODEL_SIZES)) + sum(multiplications(POLICY_SIZES))
        self.flop = 2 * count * MEMBERS * sizes.rollouts * sizes.horizon


class MetaData:
    """A policy's parameters in one vector, and what its samples are made of: before adapting and after."""

    def __init__(self, sizes):
        rng = np.random.default_rng(3)
        parts = []
        for inputs, outputs in layers(POLICY_SIZES):
            parts += [uniform(rng, glorot(inputs, outputs), inputs * outputs), np.zeros(outputs, np.float32)]
        self.sizes = sizes
        self.theta = np.concatenate([*parts, np.zeros(ACTION, np.float32)])
        self.phases = [
            (
                normal(rng, MEMBERS, sizes.samples, OBSERVATION),
                normal(rng, MEMBERS, sizes.samples, ACTION),  # noise of the actions
                normal(rng, MEMBERS, sizes.samples),  # advantages
            )
            for _ in ("before adapting", "after")
        ]

    def flop(self, products, trials):
        count = multiplications(POLICY_SIZES)
        step = 2 * sum(count)
        back = step - 2 * count[0]
        gradient = 2 * step + back
        meta_gradient = 2 * gradient + 3 * step + 5 * back
        product = 3 * step + 2 * back + 2 * gradient
        return (
            (meta_gradient + products * product + step + trials * (gradient + step)) * self.sizes.samples * MEMBERS
        )


LOOPS = {"ensemble step": EnsembleData, "imagination": ImaginationData, "meta-update": MetaData}


def conjugate_gradients(product, right):
    """Solves `product(x) = right`; for the vectors of any library."""
    x, residual, direction, square = 0 * right, right, right, right @ right
    for _ in range(CG_ITERATIONS):
        image = product(direction)
        length = square / (direction @ image)
        x = x + length * direction
        residual = residual - length * image
        new_square = residual @ residual
        direction = residual + new_square / square * direction
        square = new_square
    return x


def step_of(product, gradient):
    """The step that the trust region allows: one product for each iteration, and one for the length."""

    def damped(v):
        return product(v) + DAMPING * v

    direction = conjugate_gradients(damped, gradient)
    return (2 * MAX_KL / (direction @ damped(direction) + 1e-8)) ** 0.5 * direction


def trust_region(data, theta, gradient, step, evaluate):
    """One outer step, timed in parts. Each function returns only when its result is there.

    `gradient(theta)`; `step(gradient)`: the direction and its length; `evaluate(theta)`: surrogate and KL divergence,
    as Python numbers.
    """
    begin = time.perf_counter()
    slope = gradient(theta)
    after_gradient = time.perf_counter()
    change = step(slope)
    after_step = time.perf_counter()
    before, _ = evaluate(theta)
    trials = 0
    for trials in range(1, BACKTRACKS + 1):
        surrogate, kl = evaluate(theta + BACKTRACK_RATIO ** (trials - 1) * change)
        if surrogate > before and kl <= MAX_KL:
            break
    end = time.perf_counter()
    parts = {
        "gradient": after_gradient - begin,
        "Fisher products": after_step - after_gradient,
        "line search": end - after_step,
    }
    result = {"gradient": slope, "step": change, "surrogate": surrogate, "KL divergence": kl, "trials": trials}
    return Sample(end - begin, data.flop(CG_ITERATIONS + 1, trials), parts, result)
