"""The hot loops in PyTorch."""

import math
import time
from concurrent.futures import ThreadPoolExecutor

import torch

from .work import (
    ACTION,
    ALPHA,
    BETA_1,
    BETA_2,
    CLIP,
    EPSILON,
    LEARNING_RATE,
    MEMBERS,
    POLICY_SIZES,
    Sample,
    layers,
    step_of,
    trust_region,
)

NAME = "PyTorch"
FISHER_STEP = 0.01


class Loops:
    """Every loop that is asked for, and the threads that they share."""

    def __init__(self, data, threads, compile_too):
        torch.manual_seed(0)
        torch.set_num_threads(threads)
        self.threads = threads
        # their operators run on one thread each
        self.pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
        kinds = {"ensemble step": EnsembleStep, "imagination": Imagination, "meta-update": MetaUpdate}
        self.loops = {name: kinds[name](of, self.pool, compile_too) for name, of in data.items()}

    def run(self, name, way, **given):
        """How many threads an operator takes is a setting of the process, whichever thread makes it."""
        torch.set_num_threads(1 if "threads" in way else self.threads)
        try:
            return self.loops[name].run(way, **given)
        finally:
            torch.set_num_threads(self.threads)


# --- ensemble step ---------------------------------------------------------------------------------------------------


class Networks:
    """Networks that are trained together, in batched products; or a single one, without their dimension."""

    def __init__(self, parameters, which, compiled=False):
        self.parameters = [torch.from_numpy(p[which].copy()).requires_grad_() for layer in parameters for p in layer]
        self.product = torch.baddbmm if self.parameters[0].ndim == 3 else torch.addmm
        # one pass over all parameters
        self.adam = torch.optim.Adam(
            self.parameters, lr=LEARNING_RATE, betas=(BETA_1, BETA_2), eps=EPSILON, fused=True
        )
        self.loss = torch.compile(self.eager) if compiled else self.eager

    def eager(self, inputs, targets):
        x = inputs
        last = len(self.parameters) - 3
        for i in range(0, len(self.parameters), 3):
            direction, gain, bias = self.parameters[i : i + 3]
            weights = direction * (gain / direction.norm(dim=-2, keepdim=True))
            x = self.product(bias, x, weights)
            if i < last:
                x = x.relu()
        # each network has a loss of its own
        return (x - targets).square().mean(dim=(-2, -1)).sum()

    def step(self, inputs, targets):
        self.adam.zero_grad()
        self.loss(inputs, targets).backward()
        self.adam.step()


class EnsembleStep:
    def __init__(self, data, pool, compile_too):
        self.data = data
        self.inputs, self.targets = torch.from_numpy(data.inputs), torch.from_numpy(data.targets)
        self.ways = {}
        for suffix, compiled in (("", False), (", compiled", True)):
            if compiled and not compile_too:
                continue
            self.ways["batched" + suffix] = self.batched(compiled)
            self.ways["per model" + suffix] = self.per_model(map, compiled)
            self.ways[f"per model{suffix}, threads"] = self.per_model(pool.map, compiled)

    def run(self, way, orders=None):
        begin = time.perf_counter()
        networks = self.ways[way](None if orders is None else torch.from_numpy(orders))
        seconds = (time.perf_counter() - begin) / self.data.sizes.steps
        if len(networks) == 1:
            result = networks[0].parameters
        else:
            result = [torch.stack(p) for p in zip(*(network.parameters for network in networks))]
        return Sample(seconds, self.data.flop, result=[p.detach().numpy() for p in result])

    def fit(self, network, order):
        """`order` is [rows] of a network alone and [members, rows] of several."""
        for rows in order.split(self.data.sizes.batch, -1):
            network.step(self.inputs[rows], self.targets[rows])

    def batched(self, compiled):
        networks = Networks(self.data.parameters, slice(None), compiled)

        def way(orders):
            if orders is None:
                orders = torch.stack([torch.randperm(self.data.rows) for _ in range(MEMBERS)])
            self.fit(networks, orders)
            return [networks]

        return way

    def per_model(self, mapping, compiled):
        networks = [Networks(self.data.parameters, k, compiled) for k in range(MEMBERS)]

        def way(orders):
            def fit(k):
                self.fit(networks[k], torch.randperm(self.data.rows) if orders is None else orders[k])

            list(mapping(fit, range(MEMBERS)))
            return networks

        return way


# --- imagination -----------------------------------------------------------------------------------------------------


class Imagination:
    def __init__(self, data, pool, compile_too):
        self.data = data
        self.model = [(torch.from_numpy(w), torch.from_numpy(b)) for w, b in data.model]
        self.policy = [(torch.from_numpy(w), torch.from_numpy(b)) for w, b in data.policy]
        self.ways = {
            "batched": lambda: [self.drawn(slice(None))],
            "per model": lambda: [self.drawn(k) for k in range(MEMBERS)],
            "per model, threads": lambda: list(pool.map(self.drawn, range(MEMBERS))),
        }

    def run(self, way):
        begin = time.perf_counter()
        result = self.ways[way]()
        seconds = time.perf_counter() - begin
        return Sample(seconds, self.data.flop, result=lambda: self.joined(result))

    @staticmethod
    def joined(results):
        """Observations, actions, next observations [horizon, members, rollouts, ...] and rewards."""
        if len(results) == 1:
            return [part.numpy() for part in results[0]]
        return [torch.stack(parts, 1).numpy() for parts in zip(*results)]

    def drawn(self, which):
        shape = (self.data.sizes.rollouts,) if isinstance(which, int) else (MEMBERS, self.data.sizes.rollouts)
        noise = torch.randn(self.data.sizes.horizon, *shape, ACTION)
        return self.rollouts(which, 0.1 * torch.randn(*shape, self.model[-1][0].shape[-1]), noise)

    @torch.inference_mode()
    def rollouts(self, which, observations, noise):
        model = [(w[which], b[which]) for w, b in self.model]
        batched = isinstance(which, slice)
        product = torch.baddbmm if batched else torch.addmm
        # the same policy acts in all models
        policy = [(w.expand(MEMBERS, -1, -1), b) if batched else (w, b) for w, b in self.policy]
        steps = []
        for t in range(len(noise)):
            x = observations
            for i, (w, b) in enumerate(policy):
                x = product(b, x, w)
                if i + 1 < len(policy):
                    x = x.tanh()
            actions = x + noise[t]
            x = torch.cat((observations, actions), -1)
            for i, (w, b) in enumerate(model):
                x = product(b, x, w)
                if i + 1 < len(model):
                    x = x.relu()
            following = (x + observations).clamp(-CLIP, CLIP)
            steps.append((observations, actions, following))
            observations = following
        observations, actions, following = (torch.stack(parts) for parts in zip(*steps))
        rewards = following[..., 8] - 0.1 * actions.square().sum(-1)
        return observations, actions, following, rewards


# --- meta-update -----------------------------------------------------------------------------------------------------


def forward(thetas, observations):
    """Means [K, n, action] and log deviations [K, 1, action] of policies with parameters [K, parameters]."""
    x, start = observations, 0

    def take(*shape):
        nonlocal start
        size = math.prod(shape)
        start += size
        return thetas[:, start - size : start].view(-1, *shape)

    for i, (inputs, outputs) in enumerate(layers(POLICY_SIZES)):
        weights, bias = take(inputs, outputs), take(1, outputs)
        x = torch.baddbmm(bias, x, weights)
        if i + 1 < len(POLICY_SIZES) - 1:
            x = x.tanh()
    return x, take(1, ACTION)


def log_likelihood(policy, actions):
    mean, log_std = policy
    z = (actions - mean) * (-log_std).exp()
    constant = 0.5 * ACTION * math.log(2 * math.pi)
    return -0.5 * z.square().sum(-1) - log_std.sum(-1) - constant


class Tasks:
    """Samples of some tasks and their part of the meta-objective."""

    def __init__(self, data, which):
        def sample(phase, thetas):
            observations, noise, advantages = (torch.from_numpy(part[which]) for part in phase)
            policy = forward(thetas, observations)
            return observations, policy[0] + policy[1].exp() * noise, advantages, policy

        self.samples = data.sizes.samples
        theta = torch.from_numpy(data.theta)
        with torch.no_grad():
            self.pre = sample(data.phases[0], theta.expand(which.stop - which.start, -1))
        adapted = self.adapt(theta, False).detach()
        with torch.no_grad():
            self.post = sample(data.phases[1], adapted)
            self.old = log_likelihood(self.post[3], self.post[1])

    def adapt(self, theta, create_graph):
        observations, actions, advantages, _ = self.pre
        thetas = theta.expand(len(observations), -1)
        if not create_graph:
            thetas = thetas.detach().requires_grad_()
        with torch.enable_grad():
            value = (log_likelihood(forward(thetas, observations), actions) * advantages).sum() / self.samples
            (gradient,) = torch.autograd.grad(value, thetas, create_graph=create_graph)
        return thetas + ALPHA * gradient

    def surrogate(self, thetas):
        observations, actions, advantages, _ = self.post
        ratio = (log_likelihood(forward(thetas, observations), actions) - self.old).exp()
        return (ratio * advantages).sum() / (self.samples * MEMBERS)

    def kl(self, thetas):
        observations, _, _, (old_mean, old_log_std) = self.post
        mean, log_std = forward(thetas, observations)
        precision = (-2 * log_std).exp()
        variance = (2 * old_log_std).exp()
        divergence = log_std - old_log_std + 0.5 * ((variance + (old_mean - mean).square()) * precision - 1)
        return divergence.sum() / (self.samples * MEMBERS)


class MetaUpdate:
    def __init__(self, data, pool, compile_too):
        self.data = data
        self.theta = torch.from_numpy(data.theta)
        together, apart = [Tasks(data, slice(0, MEMBERS))], [Tasks(data, slice(k, k + 1)) for k in range(MEMBERS)]
        self.ways = {}
        for name, tasks, mapping in (
            ("batched", together, map),
            ("per task", apart, map),
            ("per task, threads", apart, pool.map),
        ):
            self.ways[f"{name}, double backward"] = (tasks, mapping, self.double_backward)
            self.ways[f"{name}, finite differences"] = (tasks, mapping, self.finite_differences)

    def run(self, way):
        tasks, mapping, fisher = self.ways[way]
        return trust_region(
            self.data,
            self.theta,
            lambda theta: self.gradient(tasks, mapping, Tasks.surrogate, theta),
            lambda gradient: step_of(fisher(tasks, mapping), gradient),
            lambda theta: self.evaluate(tasks, mapping, theta),
        )

    @staticmethod
    def gradient(tasks, mapping, function, at):
        def part(task):
            theta = at.clone().requires_grad_()
            (gradient,) = torch.autograd.grad(function(task, task.adapt(theta, True)), theta)
            return gradient

        return sum(mapping(part, tasks))

    def double_backward(self, tasks, mapping):
        def graph(task):
            theta = self.theta.clone().requires_grad_()
            (gradient,) = torch.autograd.grad(task.kl(task.adapt(theta, True)), theta, create_graph=True)
            return theta, gradient

        graphs = list(mapping(graph, tasks))

        def product(v):
            def part(graph):
                theta, gradient = graph
                return torch.autograd.grad(gradient @ v, theta, retain_graph=True)[0]

            return sum(mapping(part, graphs))

        return product

    def finite_differences(self, tasks, mapping):
        def product(v):
            step = FISHER_STEP / v.norm()
            ahead, behind = (self.gradient(tasks, mapping, Tasks.kl, self.theta + s * v) for s in (step, -step))
            return (ahead - behind) / (2 * step)

        return product

    @staticmethod
    def evaluate(tasks, mapping, theta):
        def part(task):
            adapted = task.adapt(theta, False)
            with torch.no_grad():
                return torch.stack((task.surrogate(adapted), task.kl(adapted)))

        return sum(mapping(part, tasks)).tolist()
