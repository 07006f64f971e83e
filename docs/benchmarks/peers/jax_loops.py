"""The hot loops in JAX: jitted, on the processor; what is compiled at the first call does not count.

XLA has one pool of threads, one for each core that the process may use.
"""

import math
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .work import (
    ACTION,
    ALPHA,
    BETA_1,
    BETA_2,
    CG_ITERATIONS,
    CLIP,
    DAMPING,
    EPSILON,
    LEARNING_RATE,
    MAX_KL,
    MEMBERS,
    OBSERVATION,
    POLICY_SIZES,
    Sample,
    layers,
    normal,
    step_of,
    trust_region,
)

NAME = "JAX"


class Loops:
    """Every loop that is asked for, and the threads that they share."""

    def __init__(self, data, threads):
        self.pool = ThreadPoolExecutor(threads)
        kinds = {"ensemble step": EnsembleStep, "imagination": Imagination, "meta-update": MetaUpdate}
        self.loops = {name: kinds[name](of, self.pool) for name, of in data.items()}

    def run(self, name, way, **given):
        return self.loops[name].run(way, **given)


# --- ensemble step ---------------------------------------------------------------------------------------------------


def loss(parameters, inputs, targets):
    """Of one network."""
    x = inputs
    for i, (direction, gain, bias) in enumerate(parameters):
        weights = direction * (gain / jnp.linalg.norm(direction, axis=0, keepdims=True))
        x = x @ weights + bias
        if i + 1 < len(parameters):
            x = jax.nn.relu(x)
    return jnp.square(x - targets).mean()


def adam_step(state, inputs, targets):
    """Of one network, in the form of PyTorch's optimiser."""
    count, parameters, first, second = state
    gradients = jax.grad(loss)(parameters, inputs, targets)
    count = count + 1
    rate = LEARNING_RATE / (1 - BETA_1**count)
    scale = 1 / jnp.sqrt(1 - BETA_2**count)
    first = jax.tree.map(lambda m, g: BETA_1 * m + (1 - BETA_1) * g, first, gradients)
    second = jax.tree.map(lambda v, g: BETA_2 * v + (1 - BETA_2) * g * g, second, gradients)
    parameters = jax.tree.map(
        lambda p, m, v: p - rate * m / (jnp.sqrt(v) * scale + EPSILON), parameters, first, second
    )
    return count, parameters, first, second


def unrolled_step(states, inputs, targets):
    """Of all networks, in one program but with products of their own."""
    return [adam_step(state, inputs[k], targets[k]) for k, state in enumerate(states)]


batched_step = jax.vmap(adam_step)


def gathered(step):
    def on_rows(state, table, rows):
        inputs, targets = (jnp.take(part, rows, axis=0, mode="clip") for part in table)
        return step(state, inputs, targets)

    return on_rows


def epoch(step):
    """All steps in one program, which may write over the state that it is given."""

    def steps(state, table, order):
        return lax.scan(lambda state, rows: (gathered(step)(state, table, rows), None), state, order)[0]

    return jax.jit(steps, donate_argnums=0)


def step_by_step(step):
    """A call for each step."""
    one = jax.jit(gathered(step), donate_argnums=0)

    def steps(state, table, order):
        for rows in order:
            state = one(state, table, rows)
        return state

    return steps


class EnsembleStep:
    def __init__(self, data, pool):
        self.data = data
        self.table = (jnp.asarray(data.inputs), jnp.asarray(data.targets))
        self.rng = np.random.default_rng(4)
        single = epoch(adam_step)
        self.ways = {
            "batched, scan": self.together(epoch(batched_step), self.state(slice(None))),
            "batched, step by step": self.together(step_by_step(batched_step), self.state(slice(None))),
            "unrolled, scan": self.together(epoch(unrolled_step), [self.state(k) for k in range(MEMBERS)]),
            "per model, scan": self.per_model(single, map),
            "per model, scan, threads": self.per_model(single, pool.map),
        }

    def state(self, which):
        parameters = [tuple(jnp.array(p[which]) for p in layer) for layer in self.data.parameters]
        # each network counts for itself, so that all parts of a state are alike
        count = jnp.zeros(() if isinstance(which, int) else MEMBERS)
        return count, parameters, jax.tree.map(jnp.zeros_like, parameters), jax.tree.map(jnp.zeros_like, parameters)

    def run(self, way, orders=None):
        begin = time.perf_counter()
        if orders is None:
            # NumPy's permutations take a fraction of the time of JAX's
            orders = np.stack([self.rng.permutation(self.data.rows) for _ in range(MEMBERS)])
        sizes = self.data.sizes
        orders = orders.astype(np.int32).reshape(MEMBERS, sizes.steps, sizes.batch)
        state = self.ways[way](orders)
        seconds = (time.perf_counter() - begin) / sizes.steps
        if isinstance(state, list):
            parameters = jax.tree.map(lambda *parts: np.stack(parts), *(s[1] for s in state))
        else:
            # a copy, since the next run writes over the state
            parameters = jax.tree.map(np.array, state[1])
        return Sample(seconds, self.data.flop, result=jax.tree.leaves(parameters))

    def together(self, steps, state):
        def way(orders):
            nonlocal state
            state = jax.block_until_ready(steps(state, self.table, orders.swapaxes(0, 1)))
            return state

        return way

    def per_model(self, steps, mapping):
        states = [self.state(k) for k in range(MEMBERS)]

        def way(orders):
            def fit(k):
                states[k] = jax.block_until_ready(steps(states[k], self.table, orders[k]))

            list(mapping(fit, range(MEMBERS)))
            return states

        return way


# --- imagination -----------------------------------------------------------------------------------------------------


def rollouts(model, policy, start, noise):
    """In one model."""

    def step(observations, noise):
        x = observations
        for i, (w, b) in enumerate(policy):
            x = x @ w + b
            if i + 1 < len(policy):
                x = jnp.tanh(x)
        actions = x + noise
        x = jnp.concatenate((observations, actions), -1)
        for i, (w, b) in enumerate(model):
            x = x @ w + b
            if i + 1 < len(model):
                x = jax.nn.relu(x)
        following = jnp.clip(x + observations, -CLIP, CLIP)
        return following, (observations, actions, following)

    _, (observations, actions, following) = lax.scan(step, start, noise)
    rewards = following[..., 8] - 0.1 * jnp.square(actions).sum(-1)
    return observations, actions, following, rewards


batched_rollouts = jax.vmap(rollouts, in_axes=(0, None, 0, 0))


def unrolled_rollouts(model, policy, start, noise):
    """In all models, in one program but with products of their own."""
    return [rollouts([(w[k], b[k]) for w, b in model], policy, start[k], noise[k]) for k in range(MEMBERS)]


class Imagination:
    """Noise is drawn in the program by one of JAX's generators, drawn by NumPy and passed, or drawn only once."""

    def __init__(self, data, pool):
        self.data = data
        self.pool = pool
        self.rng = np.random.Generator(np.random.SFC64(5))
        self.model = jax.tree.map(jnp.asarray, data.model)
        self.models = [jax.tree.map(lambda part, k=k: jnp.asarray(part[k]), data.model) for k in range(MEMBERS)]
        self.policy = jax.tree.map(jnp.asarray, data.policy)
        self.given = jax.tree.map(jnp.asarray, self.numpy_noise(self.rng, MEMBERS))
        self.ways = {}
        for name, program in (("batched", batched_rollouts), ("unrolled", unrolled_rollouts)):
            jitted = jax.jit(program)
            for generator in ("threefry2x32", "unsafe_rbg"):
                self.ways[f"{name}, {generator}"] = self.drawn_inside(program, generator)
            self.ways[f"{name}, noise by NumPy"] = self.together(jitted, lambda: self.numpy_noise(self.rng, MEMBERS))
            self.ways[f"{name}, noise given"] = self.together(jitted, lambda: self.given)
        jitted = jax.jit(rollouts)
        # a generator for each thread
        generators = [np.random.Generator(np.random.SFC64((6, k))) for k in range(MEMBERS)]
        for name, mapping in (("per model", map), ("per model, threads", pool.map)):
            self.ways[f"{name}, noise by NumPy"] = self.per_model(
                jitted, mapping, lambda k: self.numpy_noise(generators[k])
            )
            self.ways[f"{name}, noise given"] = self.per_model(
                jitted, mapping, lambda k: [part[k] for part in self.given]
            )

    def run(self, way):
        begin = time.perf_counter()
        result = self.ways[way]()
        seconds = time.perf_counter() - begin
        return Sample(seconds, self.data.flop, result=lambda: self.joined(result))

    @staticmethod
    def joined(results):
        """As PyTorch gives them: [horizon, members, rollouts, ...]."""
        if isinstance(results, list):
            return [np.stack(parts, 1) for parts in zip(*results)]
        return [np.asarray(part).swapaxes(0, 1) for part in results]

    def shapes(self, *members):
        sizes = self.data.sizes
        return (*members, sizes.rollouts, OBSERVATION), (*members, sizes.horizon, sizes.rollouts, ACTION)

    def numpy_noise(self, rng, *members):
        start, noise = (normal(rng, *shape) for shape in self.shapes(*members))
        start *= 0.1
        return start, noise

    def drawn_inside(self, program, generator):
        start, noise = self.shapes(MEMBERS)
        key = jax.random.key(7, impl=generator)

        @jax.jit
        def jitted(model, policy, key, index):
            first, second = jax.random.split(jax.random.fold_in(key, index))
            return program(model, policy, 0.1 * jax.random.normal(first, start), jax.random.normal(second, noise))

        index = 0

        def way():
            nonlocal index
            index += 1
            return jax.block_until_ready(jitted(self.model, self.policy, key, index))

        return way

    def together(self, program, draw):
        return lambda: jax.block_until_ready(program(self.model, self.policy, *draw()))

    def per_model(self, program, mapping, draw):
        def one(k):
            return jax.block_until_ready(program(self.models[k], self.policy, *draw(k)))

        return lambda: list(mapping(one, range(MEMBERS)))


# --- meta-update -----------------------------------------------------------------------------------------------------


def forward(theta, observations):
    """Means [n, action] and log deviations [action] of a policy."""
    x, start = observations, 0

    def take(*shape):
        nonlocal start
        size = math.prod(shape)
        start += size
        return theta[start - size : start].reshape(shape)

    for i, (inputs, outputs) in enumerate(layers(POLICY_SIZES)):
        weights, bias = take(inputs, outputs), take(outputs)
        x = x @ weights + bias
        if i + 1 < len(POLICY_SIZES) - 1:
            x = jnp.tanh(x)
    return x, take(ACTION)


def log_likelihood(policy, actions):
    mean, log_std = policy
    z = (actions - mean) * jnp.exp(-log_std)
    return -0.5 * jnp.square(z).sum(-1) - log_std.sum() - 0.5 * ACTION * math.log(2 * math.pi)


def adapt(theta, pre):
    observations, actions, advantages = pre

    def value(theta):
        return (log_likelihood(forward(theta, observations), actions) * advantages).mean()

    return theta + ALPHA * jax.grad(value)(theta)


def surrogate(theta, post):
    observations, actions, advantages, _, old = post
    ratio = jnp.exp(log_likelihood(forward(theta, observations), actions) - old)
    return (ratio * advantages).mean() / MEMBERS


def kl(theta, post):
    observations, _, _, (old_mean, old_log_std), _ = post
    mean, log_std = forward(theta, observations)
    precision, variance = jnp.exp(-2 * log_std), jnp.exp(2 * old_log_std)
    divergence = log_std - old_log_std + 0.5 * ((variance + jnp.square(old_mean - mean)) * precision - 1)
    return divergence.sum(-1).mean() / MEMBERS


def sampled(theta, before, after):
    """Samples of one task before adapting and after."""

    def sample(theta, phase):
        observations, noise, advantages = phase
        policy = forward(theta, observations)
        return (observations, policy[0] + jnp.exp(policy[1]) * noise, advantages), policy

    pre, _ = sample(theta, before)
    post, policy = sample(adapt(theta, pre), after)
    return pre, (*post, policy, log_likelihood(policy, post[1]))


# Tasks come as a list of groups. The tasks of a group lie in one array, and their products are batched.


def total(function, theta, groups):
    """The sum of a function of the adapted parameters over all tasks."""

    def of(pre, post):
        return function(adapt(theta, pre), post)

    return sum(jax.vmap(of)(*group).sum() for group in groups)


def evaluate(theta, groups):
    def of(pre, post):
        adapted = adapt(theta, pre)
        return jnp.stack((surrogate(adapted, post), kl(adapted, post)))

    return sum(jax.vmap(of)(*group).sum(0) for group in groups)


kl_gradient = jax.grad(partial(total, kl))


def recomputing(theta, groups):
    """Fisher products forward over reverse; what both share is computed anew in each of them."""
    return lambda v: jax.jvp(lambda theta: kl_gradient(theta, groups), (theta,), (v,))[1]


def linearized(theta, groups):
    """Fisher products forward over reverse; what does not depend on the vector is kept."""
    return jax.linearize(lambda theta: kl_gradient(theta, groups), theta)[1]


def double_backward(theta, groups):
    """Fisher products reverse over reverse; what does not depend on the vector is kept."""
    pull = jax.vjp(lambda theta: kl_gradient(theta, groups), theta)[1]
    return lambda v: pull(v)[0]


def factored(theta, groups):
    """Fisher products through the adapted parameters: J F J, where F is the Fisher matrix there and J, symmetric, the
    derivative of adapting. The gradient of the divergence is zero, hence nothing is missing."""

    def of(group):
        pre, post = group
        thetas = jnp.broadcast_to(theta, (len(pre[0]), len(theta)))
        adapted, push = jax.linearize(lambda thetas: jax.vmap(adapt)(thetas, pre), thetas)
        fisher = jax.linearize(lambda thetas: jax.vmap(jax.grad(kl))(thetas, post), adapted)[1]
        return lambda v: push(fisher(push(jnp.broadcast_to(v, thetas.shape)))).sum(0)

    products = [of(group) for group in groups]
    return lambda v: sum(product(v) for product in products)


FISHER = {
    "forward over reverse": recomputing,
    "forward over reverse, kept": linearized,
    "double backward": double_backward,
    "J F J": factored,
}


def compiled_step(fisher, theta, gradient, groups):
    """`step_of` as a loop that XLA compiles: unrolled, the program would hold eleven products."""
    product = fisher(theta, groups)

    def damped(v):
        return product(v) + DAMPING * v

    def iteration(_, state):
        x, residual, direction, square = state
        image = damped(direction)
        length = square / (direction @ image)
        residual = residual - length * image
        new_square = residual @ residual
        return x + length * direction, residual, residual + new_square / square * direction, new_square

    start = (jnp.zeros_like(gradient), gradient, gradient, gradient @ gradient)
    direction = lax.fori_loop(0, CG_ITERATIONS, iteration, start)[0]
    return jnp.sqrt(2 * MAX_KL / (direction @ damped(direction) + 1e-8)) * direction


class MetaUpdate:
    def __init__(self, data, pool):
        self.data = data
        self.theta = jnp.asarray(data.theta)
        sample = jax.jit(jax.vmap(sampled, in_axes=(None, 0, 0)))
        groups = [
            jax.block_until_ready(sample(self.theta, *jax.tree.map(lambda part, s=s: part[s], data.phases)))
            for s in [slice(0, MEMBERS), *(slice(k, k + 1) for k in range(MEMBERS))]
        ]
        together, apart = groups[:1], groups[1:]
        self.surrogate_gradient = jax.jit(jax.grad(partial(total, surrogate)))
        self.evaluate = jax.jit(evaluate)
        self.ways = {}
        for name, fisher in FISHER.items():
            step = jax.jit(partial(compiled_step, fisher))
            self.ways[f"batched, {name}"] = self.together(together, step)
            self.ways[f"unrolled, {name}"] = self.together(apart, step)
            if fisher is not linearized:
                self.ways[f"per task, threads, {name}"] = self.per_task(apart, pool.map, fisher)

    def run(self, way):
        return self.ways[way]()

    def together(self, groups, step):
        """All tasks in one program, and all conjugate gradients in one."""
        return lambda: trust_region(
            self.data,
            self.theta,
            lambda theta: jax.block_until_ready(self.surrogate_gradient(theta, groups)),
            lambda gradient: jax.block_until_ready(step(self.theta, gradient, groups)),
            lambda theta: self.evaluate(theta, groups).tolist(),
        )

    def per_task(self, tasks, mapping, fisher):
        """Each task in a program of its own; sums and conjugate gradients in NumPy, hence nothing is kept."""
        product = jax.jit(lambda theta, v, groups: fisher(theta, groups)(v))

        def summed(function, *leading):
            return sum(mapping(lambda task: np.asarray(function(*leading, [task])), tasks))

        return lambda: trust_region(
            self.data,
            self.data.theta,
            lambda theta: summed(self.surrogate_gradient, theta),
            lambda gradient: step_of(lambda v: summed(product, self.data.theta, v), gradient),
            lambda theta: summed(self.evaluate, theta).tolist(),
        )
