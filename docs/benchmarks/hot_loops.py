#!/usr/bin/env python3
"""The three hot loops of `cargo xtask bench` in PyTorch: same work, same sizes, same number of threads.

    pip install torch    # Python 3.10 or later; the processor's build is enough
    cargo build -p xtask    # optimised as well
    python docs/benchmarks/hot_loops.py --ours target/debug/xtask

Ctrl-C ends it early with the medians of what there is. OpenMP's threads wait for each other busily: on a machine that does
other things too, PyTorch's numbers say little.

Without `--ours` only PyTorch is measured. With it, our program runs in every round as well, so that what else the machine
does slows both alike; medians over the rounds count. Every way that PyTorch has of doing a loop is timed, and the best one
is compared.

- **ensemble step**: Adam steps of 5 networks 23-512-512-17 with weight normalisation and ReLU, mean squared error, batches
  of 500 rows gathered from a table. Eager, all networks in one batched product; one after another; side by side in
  Python threads with single-threaded operators inside; and `torch.compile`d. Fused Adam.
- **imagination**: 5 x 100 rollouts of 200 steps; policy 17-32-32-6, weight normalisation and standardisation folded into
  plain weights, noise drawn once, predictions clipped, all steps kept, rewards computed. No autograd.
- **meta-update**: 5 tasks with 10,000 samples before adapting and 10,000 after. The vanilla policy gradient with
  `create_graph`, the surrogate at the adapted parameters and its gradient, 11 products of the Hessian of the KL divergence
  (10 iterations of conjugate gradients, one for the length of the step), a line search of up to 15 trials. The products by
  double backward of one graph that is kept, or by symmetric finite differences of the gradient. `torch.compile` does not
  support double backward.

GFLOP/s count the matrix products that the shapes ask for, the same numbers as in our program (`xtask/src/bench`), however
the loop is done.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

OBSERVATION, ACTION = 17, 6
MEMBERS, HIDDEN, BATCH = 5, (512, 512), 500
STEPS = 64  # Adam steps that are timed in one go
HORIZON, ROLLOUTS, CLIP = 200, 100, 1000.0
POLICY = (32, 32)
SAMPLES = 10_000  # of a task, before adapting and again after
ALPHA = 0.001
MAX_KL, DAMPING, CG_ITERATIONS, BACKTRACKS, BACKTRACK_RATIO = 0.01, 1e-5, 10, 15, 0.8
FISHER_STEP = 0.01

MODEL_SIZES = (OBSERVATION + ACTION, *HIDDEN, OBSERVATION)
POLICY_SIZES = (OBSERVATION, *POLICY, ACTION)


def layers(sizes):
    return list(zip(sizes, sizes[1:]))


def multiplications(sizes):
    return [inputs * outputs for inputs, outputs in layers(sizes)]


# --- ensemble step ---------------------------------------------------------------------------------------------------


class Networks:
    """Networks that are trained together: `count` of them in batched products."""

    def __init__(self, count, compiled=False):
        self.parameters = []
        for inputs, outputs in layers(MODEL_SIZES):
            limit = math.sqrt(6 / (inputs + outputs))
            self.parameters += [
                ((2 * torch.rand(count, inputs, outputs) - 1) * limit).requires_grad_(),
                torch.ones(count, 1, outputs, requires_grad=True),
                torch.zeros(count, 1, outputs, requires_grad=True),
            ]
        self.adam = torch.optim.Adam(self.parameters, lr=1e-3, eps=1e-8, fused=True)
        self.loss = torch.compile(self.eager) if compiled else self.eager

    def eager(self, inputs, targets):
        x = inputs
        last = len(self.parameters) - 3
        for i in range(0, len(self.parameters), 3):
            direction, gain, bias = self.parameters[i : i + 3]
            weights = direction * (gain / direction.norm(dim=1, keepdim=True))
            x = torch.baddbmm(bias, x, weights)
            if i < last:
                x = x.relu()
        # each network has a loss of its own
        return (x - targets).square().mean(dim=(1, 2)).sum()

    def step(self, inputs, targets):
        self.adam.zero_grad()
        self.loss(inputs, targets).backward()
        self.adam.step()


class Single(Networks):
    """One network, without the dimension for the others."""

    def __init__(self, compiled=False):
        super().__init__(1)
        self.parameters = [p.detach()[0].clone().requires_grad_() for p in self.parameters]
        self.adam = torch.optim.Adam(self.parameters, lr=1e-3, eps=1e-8, fused=True)
        self.loss = torch.compile(self.eager) if compiled else self.eager

    def eager(self, inputs, targets):
        x = inputs
        last = len(self.parameters) - 3
        for i in range(0, len(self.parameters), 3):
            direction, gain, bias = self.parameters[i : i + 3]
            weights = direction * (gain / direction.norm(dim=0, keepdim=True))
            x = torch.addmm(bias, x, weights)
            if i < last:
                x = x.relu()
        return (x - targets).square().mean()


class EnsembleStep:
    flop = 2 * (3 * sum(multiplications(MODEL_SIZES)) - multiplications(MODEL_SIZES)[0]) * BATCH * MEMBERS

    def __init__(self, pool, compile_too):
        rows = STEPS * BATCH
        self.inputs = torch.randn(rows, OBSERVATION + ACTION)
        self.targets = torch.randn(rows, OBSERVATION)
        self.pool = pool
        together, apart = Networks(MEMBERS), [Single() for _ in range(MEMBERS)]
        self.ways = {
            "batched": lambda: self.batched(together),
            "per model": lambda: self.per_model(apart, map),
            "per model, threads": lambda: self.per_model(apart, pool.map),
        }
        if compile_too:
            compiled = Networks(MEMBERS, True), [Single(True) for _ in range(MEMBERS)]
            self.ways["batched, compiled"] = lambda: self.batched(compiled[0])
            self.ways["per model, compiled"] = lambda: self.per_model(compiled[1], map)
            self.ways["per model, compiled, threads"] = lambda: self.per_model(compiled[1], pool.map)

    def run(self, way):
        begin = time.perf_counter()
        self.ways[way]()
        return (time.perf_counter() - begin) / STEPS, self.flop, {}

    def batched(self, networks):
        orders = torch.stack([torch.randperm(len(self.inputs)) for _ in range(MEMBERS)])
        for start in range(0, len(self.inputs), BATCH):
            rows = orders[:, start : start + BATCH]
            networks.step(self.inputs[rows], self.targets[rows])

    def per_model(self, networks, mapping):
        def fit(network):
            order = torch.randperm(len(self.inputs))
            for start in range(0, len(order), BATCH):
                rows = order[start : start + BATCH]
                network.step(self.inputs[rows], self.targets[rows])

        list(mapping(fit, networks))


# --- imagination -----------------------------------------------------------------------------------------------------


class Imagination:
    flop = 2 * (sum(multiplications(MODEL_SIZES)) + sum(multiplications(POLICY_SIZES))) * MEMBERS * ROLLOUTS * HORIZON

    def __init__(self, pool, compile_too):
        def weights(inputs, outputs, scale=1.0):
            limit = scale * math.sqrt(6 / (inputs + outputs))
            return (2 * torch.rand(MEMBERS, inputs, outputs) - 1) * limit, torch.zeros(MEMBERS, 1, outputs)

        # small changes, so that what is imagined does not run away
        self.model = [weights(i, o, 0.1 if o == OBSERVATION else 1.0) for i, o in layers(MODEL_SIZES)]
        self.policy = [tuple(p[:1] for p in weights(i, o)) for i, o in layers(POLICY_SIZES)]
        self.ways = {
            "batched": lambda: self.rollouts(slice(None)),
            "per model": lambda: [self.rollouts(k) for k in range(MEMBERS)],
            "per model, threads": lambda: list(pool.map(self.rollouts, range(MEMBERS))),
        }

    def run(self, way):
        begin = time.perf_counter()
        self.ways[way]()
        return time.perf_counter() - begin, self.flop, {}

    @torch.inference_mode()
    def rollouts(self, which):
        model = [(w[which], b[which]) for w, b in self.model]
        batched = isinstance(which, slice)
        product = torch.baddbmm if batched else torch.addmm
        # the same policy acts in all models
        policy = [(w.expand(MEMBERS, -1, -1), b) if batched else (w[0], b[0]) for w, b in self.policy]
        shape = (MEMBERS, ROLLOUTS) if batched else (ROLLOUTS,)
        noise = torch.randn(HORIZON, *shape, ACTION)
        observations = 0.1 * torch.randn(*shape, OBSERVATION)
        steps = []
        for t in range(HORIZON):
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

PARAMETERS = sum((i + 1) * o for i, o in layers(POLICY_SIZES)) + ACTION


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

    def __init__(self, theta, count):
        def sample(thetas):
            observations = torch.randn(count, SAMPLES, OBSERVATION)
            policy = forward(thetas, observations)
            actions = policy[0] + policy[1].exp() * torch.randn(count, SAMPLES, ACTION)
            return observations, actions, torch.randn(count, SAMPLES), policy

        thetas = theta.expand(count, -1)
        with torch.no_grad():
            self.pre = sample(thetas)
        adapted = self.adapt(theta.clone().requires_grad_(), False).detach()
        with torch.no_grad():
            self.post = sample(adapted)
            self.old = log_likelihood(self.post[3], self.post[1])
        self.count = count

    def adapt(self, theta, create_graph):
        observations, actions, advantages, _ = self.pre
        thetas = theta.expand(len(observations), -1)
        if not create_graph:
            thetas = thetas.detach().requires_grad_()
        with torch.enable_grad():
            value = (log_likelihood(forward(thetas, observations), actions) * advantages).sum() / SAMPLES
            (gradient,) = torch.autograd.grad(value, thetas, create_graph=create_graph)
        return thetas + ALPHA * gradient

    def surrogate(self, thetas):
        observations, actions, advantages, _ = self.post
        ratio = (log_likelihood(forward(thetas, observations), actions) - self.old).exp()
        return (ratio * advantages).sum() / (SAMPLES * MEMBERS)

    def kl(self, thetas):
        observations, _, _, (old_mean, old_log_std) = self.post
        mean, log_std = forward(thetas, observations)
        precision = (-2 * log_std).exp()
        variance = (2 * old_log_std).exp()
        divergence = log_std - old_log_std + 0.5 * ((variance + (old_mean - mean).square()) * precision - 1)
        return divergence.sum() / (SAMPLES * MEMBERS)


class MetaUpdate:
    def __init__(self, pool, compile_too):
        parts = []
        for inputs, outputs in layers(POLICY_SIZES):
            limit = math.sqrt(6 / (inputs + outputs))
            parts += [(2 * torch.rand(inputs * outputs) - 1) * limit, torch.zeros(outputs)]
        self.theta = torch.cat(parts + [torch.zeros(ACTION)])
        together, apart = [Tasks(self.theta, MEMBERS)], [Tasks(self.theta, 1) for _ in range(MEMBERS)]
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
        begin = time.perf_counter()
        gradient = self.gradient(tasks, mapping, Tasks.surrogate, self.theta)
        parts = {"gradient": time.perf_counter() - begin}
        clock = time.perf_counter()
        products = 0
        plain = fisher(tasks, mapping)

        def product(v):
            nonlocal products
            products += 1
            return plain(v) + DAMPING * v

        direction = conjugate_gradients(product, gradient)
        length = (2 * MAX_KL / (direction @ product(direction) + 1e-8)).sqrt()
        del plain
        parts["Fisher products"] = time.perf_counter() - clock
        clock = time.perf_counter()
        before, _ = self.evaluate(tasks, mapping, self.theta)
        trials = 0
        for trials in range(1, BACKTRACKS + 1):
            candidate = self.theta + BACKTRACK_RATIO ** (trials - 1) * length * direction
            surrogate, kl = self.evaluate(tasks, mapping, candidate)
            if surrogate > before and kl <= MAX_KL:
                break
        parts["line search"] = time.perf_counter() - clock
        return time.perf_counter() - begin, self.flop(products, trials), parts

    @staticmethod
    def flop(products, trials):
        count = multiplications(POLICY_SIZES)
        step = 2 * sum(count)
        back = step - 2 * count[0]
        gradient = 2 * step + back
        meta_gradient = 2 * gradient + 3 * step + 5 * back
        product = 3 * step + 2 * back + 2 * gradient
        return (meta_gradient + products * product + step + trials * (gradient + step)) * SAMPLES * MEMBERS

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


def conjugate_gradients(product, right):
    x, residual = torch.zeros_like(right), right.clone()
    direction, square = right.clone(), right @ right
    for _ in range(CG_ITERATIONS):
        image = product(direction)
        length = square / (direction @ image)
        x += length * direction
        residual -= length * image
        new_square = residual @ residual
        direction = residual + new_square / square * direction
        square = new_square
    return x


# --- measuring -------------------------------------------------------------------------------------------------------

LOOPS = {"ensemble step": EnsembleStep, "imagination": Imagination, "meta-update": MetaUpdate}


def products():
    """GFLOP/s of matrix products."""
    rates = {}
    for rows, width in ((BATCH, HIDDEN[0]), (1024, 1024)):
        left, right = torch.randn(rows, width), torch.randn(width, width)
        flop = 2 * rows * width * width
        repetitions = math.ceil(4e9 / flop)
        begin = time.perf_counter()
        for _ in range(repetitions):
            left @ right
        rates[f"[{rows}x{width}] x [{width}x{width}]"] = repetitions * flop / (time.perf_counter() - begin) / 1e9
    return rates


def timed(loop, way, threads):
    """Runs a loop once. How many threads an operator takes is a setting of the process, whichever thread makes it."""
    torch.set_num_threads(1 if "threads" in way else threads)
    sample = loop.run(way)
    torch.set_num_threads(threads)
    return sample


def ours(program, threads):
    """What our program measures in one round."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        command = [program, "bench", "--rounds", "1", "--threads", str(threads), "--json", file.name]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return json.load(file)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", type=Path, help="our program, `target/debug/xtask`")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="[%(default)s]")
    parser.add_argument("--rounds", type=int, default=7, help="of which the median is shown [%(default)s]")
    parser.add_argument("--only", choices=LOOPS, help="this loop alone")
    parser.add_argument("--no-compile", action="store_true", help="leave `torch.compile` out")
    arguments = parser.parse_args()

    torch.manual_seed(0)
    torch.set_num_threads(arguments.threads)
    names = [arguments.only] if arguments.only else list(LOOPS)
    # their operators run on one thread each
    with ThreadPoolExecutor(arguments.threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        loops = {name: LOOPS[name](pool, not arguments.no_compile) for name in names}
        measured = {name: {way: [] for way in loop.ways} for name, loop in loops.items()}
        rates, own = [], []
        # the first round only warms up
        try:
            for index in range(arguments.rounds + 1):
                print(f"round {index} of {arguments.rounds}", file=sys.stderr)
                rates.append(products())
                for name, loop in loops.items():
                    for way in list(measured[name]):
                        try:
                            measured[name][way].append(timed(loop, way, arguments.threads))
                        except Exception as error:
                            if "compile" not in way:
                                raise
                            print(f"{name}, {way}: does not work ({type(error).__name__})")
                            del measured[name][way]
                if arguments.ours and index > 0:
                    own.append(ours(arguments.ours.resolve(strict=True), arguments.threads))
        except KeyboardInterrupt:
            print("interrupted: medians of what there is", file=sys.stderr)
    rates = rates[1:]
    if not rates:
        sys.exit("no round was measured")

    print(f"PyTorch {torch.__version__}, {arguments.threads} threads, {arguments.rounds} rounds; GFLOP/s of medians\n")
    print("| matrix product | median | best |\n|---|--:|--:|")
    ceiling = 0
    for shape in rates[0]:
        values = [rate[shape] for rate in rates]
        ceiling = max(ceiling, statistics.median(values))
        print(f"| {shape} | {statistics.median(values):.0f} | {max(values):.0f} |")

    print(f"\n| loop | how | median ms | best ms | GFLOP/s | of the ceiling ({ceiling:.0f}) |\n|---|---|--:|--:|--:|--:|")
    fastest = {}
    for name, ways in measured.items():
        for way, samples in ways.items():
            samples = samples[1:]
            if not samples:
                continue
            seconds = [sample[0] for sample in samples]
            middle = statistics.median(seconds)
            gflops = statistics.median(flop / second / 1e9 for second, flop, _ in samples)
            print(
                f"| {name} | {way} | {1e3 * middle:.1f} | {1e3 * min(seconds):.1f} | {gflops:.0f} "
                f"| {100 * gflops / ceiling:.0f} % |"
            )
            for part in samples[0][2]:
                share = statistics.median(sample[2][part] for sample in samples)
                print(f"| | - {part} | {1e3 * share:.1f} | | | |")
            fastest[name] = min(fastest.get(name, (math.inf, "")), (middle, way))

    if own:
        own_ceiling = max(
            statistics.median(run["ceiling"][i]["median"] for run in own) for i in range(len(own[0]["ceiling"]))
        )
        print(f"\n| loop | ours, ms | of our ceiling ({own_ceiling:.0f}) | best PyTorch, ms | PyTorch / ours |")
        print("|---|--:|--:|--:|--:|")
        for index, loop in enumerate(own[0]["loops"]):
            name = loop["name"]
            if name not in fastest:
                continue
            median = statistics.median(run["loops"][index]["median"] for run in own)
            gflops = statistics.median(run["loops"][index]["gflops"] for run in own)
            theirs, way = fastest[name]
            print(
                f"| {name} | {1e3 * median:.1f} | {100 * gflops / own_ceiling:.0f} % "
                f"| {1e3 * theirs:.1f} ({way}) | {theirs / median:.2f} |"
            )


if __name__ == "__main__":
    main()
