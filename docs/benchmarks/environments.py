#!/usr/bin/env python3
"""Control steps a second of our environments beside MuJoCo's, on the same robots.

    pip install mujoco numpy    # Python 3.11 or later
    cargo build --release -p mbmpo-envs --example speed
    MUJOCO_GL=disable python docs/benchmarks/environments.py assets --speed target/release/examples/speed

Without `--speed` only MuJoCo is measured.

MuJoCo is measured through its own `rollout` module, which steps in C++ and hands the interpreter only the result:
a batch of 50 episodes of 200 control steps, uniform random actions drawn beforehand and held for the frame skip, first
states with normal noise of 0.01 on coordinates and 0.1 on velocities. Ours are episodes of the same kind with the same
actions' distribution, through `Environment::step`: observations and rewards are computed, which MuJoCo is spared. Both
go on after an episode would have terminated.

Both are measured in turn, several rounds of them, and the median is shown: what else the machine does in the meantime
then slows both alike. Of MuJoCo the best of several repetitions counts in every round.
"""

import argparse
import contextlib
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

# nothing is drawn
os.environ.setdefault("MUJOCO_GL", "disable")

import mujoco
import numpy as np
from mujoco import rollout

EPISODES = 50
STEPS = 200
REPETITIONS = 3
POSITION_NOISE = 0.01
VELOCITY_NOISE = 0.1

# environment: file, frame skip
ROBOTS = {
    "half-cheetah": ("half_cheetah.xml", 1),
    "swimmer": ("swimmer.xml", 1),
    "hopper": ("hopper.xml", 5),
    "walker2d": ("walker2d.xml", 5),
    "ant": ("ant.xml", 2),
    "pr2-reacher": ("pr2.xml", 1),
}
# where an episode begins, if not where the file has it
STARTS = {"ant": [0, 0, 0.55, 1, 0, 0, 0, 0, 1, 0, -1, 0, -1, 0, 1]}


class MuJoCo:
    """A robot in MuJoCo."""

    def __init__(self, path, skip, start, threads):
        self.model = mujoco.MjModel.from_xml_path(str(path))
        self.skip = skip
        self.start = self.model.qpos0 if start is None else np.asarray(start, float)
        self.random = np.random.default_rng(0)
        self.data = [mujoco.MjData(self.model) for _ in range(threads)]

    def speed(self, threads):
        """Control steps a second of all threads together."""
        return max(self.once(self.data[:threads]) for _ in range(REPETITIONS))

    def once(self, data):
        model, normal = self.model, self.random.standard_normal
        low, high = model.actuator_ctrlrange.T
        controls = self.random.uniform(low, high, (EPISODES, STEPS, model.nu))
        controls = controls.repeat(self.skip, axis=1)
        # time, positions, velocities, and activations that none of the robots has
        size = mujoco.mj_stateSize(model, mujoco.mjtState.mjSTATE_FULLPHYSICS)
        states = np.zeros((EPISODES, size))
        positions, velocities = 1, 1 + model.nq
        states[:, positions:velocities] = self.start + POSITION_NOISE * normal((EPISODES, model.nq))
        states[:, velocities : velocities + model.nv] = VELOCITY_NOISE * normal((EPISODES, model.nv))
        # a list asks for a pool of threads, a single one for none
        data = data if len(data) > 1 else data[0]
        begin = time.perf_counter()
        rollout.rollout(model, data, states, controls)
        return EPISODES * STEPS / (time.perf_counter() - begin)


def ours(program, name, threads):
    """Control steps a second on one thread and on all."""
    environment = dict(os.environ, RAYON_NUM_THREADS=str(threads))
    # what goes wrong is said on stderr, which is the user's
    output = subprocess.run([program, name], env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    found, *speeds = output.split()
    assert found == name and len(speeds) == 2, output
    return [float(speed) for speed in speeds]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("assets", type=Path, help="folder of the robots' files")
    parser.add_argument("--speed", type=Path, help="our program, `target/release/examples/speed`")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="how many \"all\" are [%(default)s]")
    parser.add_argument("--rounds", type=int, default=5, help="of which the median is shown [%(default)s]")
    parser.add_argument("--only", action="append", choices=ROBOTS, help="this environment; may be repeated")
    arguments = parser.parse_args()

    program = arguments.speed and arguments.speed.resolve(strict=True)
    assets = arguments.assets.resolve(strict=True)
    counts = [1, arguments.threads]
    # MuJoCo leaves its log of warnings where it runs
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        robots = {}
        for name in arguments.only or ROBOTS:
            file, skip = ROBOTS[name]
            if (assets / file).exists():
                robots[name] = MuJoCo(assets / file, skip, STARTS.get(name), arguments.threads)
            else:
                print(f"{name}: there is no {file} in {arguments.assets}")
        measured = {name: {"mujoco": [], "ours": []} for name in robots}
        for _ in range(arguments.rounds):
            for name, robot in robots.items():
                measured[name]["mujoco"].append([robot.speed(count) for count in counts])
                if program:
                    measured[name]["ours"].append(ours(program, name, arguments.threads))

    print(f"MuJoCo {mujoco.__version__}; control steps/s, median of {arguments.rounds}")
    for index, count in enumerate(counts):
        print(f"\n{count} thread{'s' if count > 1 else ''}\n")
        print("| environment | MuJoCo | ours | ours / MuJoCo |\n|---|--:|--:|--:|")
        for name, rounds in measured.items():
            theirs = statistics.median(speeds[index] for speeds in rounds["mujoco"])
            line = f"| {name} | {theirs:,.0f} |"
            if program:
                own = statistics.median(speeds[index] for speeds in rounds["ours"])
                line += f" {own:,.0f} | {own / theirs:.2f} |"
            else:
                line += " | |"
            print(line)


if __name__ == "__main__":
    main()
