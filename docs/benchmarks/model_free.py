#!/usr/bin/env python3
"""Stable-Baselines3 on half-cheetah and swimmer as they are here, to hold our model-free algorithms against.

    python3 -m venv sb3 && . sb3/bin/activate    # Python 3.10 or later
    pip install torch    # the processor's build is enough
    pip install stable-baselines3 sb3-contrib "gymnasium[mujoco]"
    python docs/benchmarks/model_free.py --algorithm random --environment half-cheetah
    python docs/benchmarks/model_free.py --algorithm trpo --environment half-cheetah --seed 0 --out trpo-0.jsonl

PPO and DDPG are Stable-Baselines3's, TRPO is sb3-contrib's; neither has ACKTR. Written with versions 2.9.2 of both,
gymnasium 1.4.0, mujoco 4.0.0 and torch 2.15.0. One thread: run several seeds side by side.

**Environment.** Time step, observation, reward, reset and horizon are ours, not gymnasium's, whose robots act every
0.05 s (half-cheetah) or 0.04 s (swimmer) for 1000 steps and start otherwise. The robot is our MJCF file and its task is
read from the RON file beside it, both in `assets/`; MuJoCo simulates it, with which our simulation agrees
(docs/environments.md). `--model gymnasium` takes gymnasium's MJCF file instead, with our task: the same robot from
another hand. `--algorithm random` plays uniform random actions, to compare with docs/environments.md.

**Settings** are those of our `tuned` presets where Stable-Baselines3 has them: see `model` below. In addition:

- The value function is a network (32x32, tanh). TRPO fits it by Adam at 1e-3, ten epochs of minibatches of 125.
- The time limit is no termination: gamma V(last observation) is added to the last reward (TRPO, PPO); DDPG's targets
  go on beyond it.
- Weights start orthogonal, the policy's last layer at a hundredth (TRPO, PPO).
- DDPG has one learning rate for actor and critic, normal noise of 0.1 on the actions where ours has noise on the
  parameters, and no normalised observations. Its gradient steps, one for every real step, come after each episode;
  during the first 1000 real steps actions are uniform and nothing is trained.

**Evaluation.** After every `--every` real steps (rounded up to whole batches or episodes) the current policy plays 20
episodes of its own, not counted as real steps: with its noise (TRPO, PPO) or without (DDPG). Each makes a line of
`--out`:

- `real_steps`: what training has used
- `return_pre_mean`, `return_pre_std`: mean and population standard deviation of the undiscounted returns
- `wall_seconds`: since training began, evaluations included [s]
- `evaluation_seconds`: what all evaluations so far took of it [s]
"""

import argparse
import json
import os
import re
import sys
import time
from importlib.metadata import version
from pathlib import Path

# nothing is drawn
os.environ.setdefault("MUJOCO_GL", "disable")

import gymnasium
import mujoco
import numpy as np
import torch
from gymnasium.wrappers import TimeLimit
from sb3_contrib import TRPO
from stable_baselines3 import DDPG, PPO
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

ASSETS = Path(__file__).resolve().parents[2] / "assets"
GYMNASIUM = Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets"
PACKAGES = ["stable-baselines3", "sb3-contrib", "gymnasium", "mujoco", "torch", "numpy"]
BATCH_EPISODES = 25
EVALUATION_EPISODES = 20


class Task:
    """What a task file says, as far as these two robots need it."""

    def __init__(self, environment, assets):
        name = environment.replace("-", "_")
        self.model = mujoco.MjModel.from_xml_path(str(assets / f"{name}.xml"))
        text = (ASSETS / f"{name}.ron").read_text()

        def number(key):
            return float(re.search(rf"{re.escape(key)}: ([\d.]+)", text)[1])

        self.frame_skip = int(number("frame_skip"))
        self.horizon = int(number("horizon"))
        self.control_cost = number("ControlCost(weight")
        self.reward_clip = number("reward_clip")
        self.position_noise = number("position_noise")
        self.velocity_noise = number("velocity_noise")
        # coordinates of the root that are not observed; they are the first ones
        self.hidden = len(re.search(r"AllBut\(\[(.*?)\]\)", text)[1].split(","))


class Robot(gymnasium.Env):
    """A robot in MuJoCo that is paid for its forward velocity after the step."""

    def __init__(self, task):
        self.task, self.data = task, mujoco.MjData(task.model)
        size = task.model.nq - task.hidden + task.model.nv
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (size,), np.float32)
        self.action_space = gymnasium.spaces.Box(-1, 1, (task.model.nu,), np.float32)

    def observation(self):
        return np.concatenate([self.data.qpos[self.task.hidden:], self.data.qvel]).astype(np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        mujoco.mj_resetData(self.task.model, self.data)
        self.data.qpos += self.task.position_noise * self.np_random.standard_normal(self.task.model.nq)
        self.data.qvel += self.task.velocity_noise * self.np_random.standard_normal(self.task.model.nv)
        return self.observation(), {}

    def step(self, action):
        action = np.clip(np.asarray(action, np.float64), -1, 1)
        self.data.ctrl[:] = action
        mujoco.mj_step(self.task.model, self.data, self.task.frame_skip)
        # both robots have the forward velocity first
        reward = self.data.qvel[0] - self.task.control_cost * action @ action
        reward = float(np.clip(reward, -self.task.reward_clip, self.task.reward_clip))
        return self.observation(), reward, False, False, {}


def environments(task, number):
    return DummyVecEnv([lambda: TimeLimit(Robot(task), task.horizon)] * number)


def model(algorithm, task, seed):
    """An untrained policy with everything that trains it."""
    # Stable-Baselines3 seeds its environments with seed, seed + 1, ...: keep those of two runs apart
    common = {"gamma": 0.99, "seed": 1000 * seed, "device": "cpu"}
    if algorithm == "ddpg":
        noise = np.full(task.model.nu, 0.1)
        return DDPG(
            "MlpPolicy",
            environments(task, 1),
            policy_kwargs={"net_arch": [64, 64], "activation_fn": torch.nn.ReLU},
            learning_rate=1e-3,
            batch_size=100,
            tau=0.005,
            buffer_size=1_000_000,
            learning_starts=1000,
            action_noise=NormalActionNoise(np.zeros_like(noise), noise),
            train_freq=(1, "episode"),
            gradient_steps=-1,  # as many as real steps
            **common,
        )
    # a batch is one whole episode of every copy
    common["n_steps"] = task.horizon
    common["policy_kwargs"] = {
        "net_arch": {"pi": [32, 32], "vf": [32, 32]},
        "activation_fn": torch.nn.Tanh,
        "log_std_init": 0.0,
    }
    batch = environments(task, BATCH_EPISODES)
    if algorithm == "trpo":
        return TRPO(
            "MlpPolicy",
            batch,
            target_kl=0.01,
            gae_lambda=0.95,
            cg_max_steps=10,
            cg_damping=0.1,
            learning_rate=1e-3,  # of the value network
            n_critic_updates=10,
            batch_size=125,  # the value network's
            **common,
        )
    return PPO(
        "MlpPolicy",
        VecNormalize(batch, clip_obs=10, clip_reward=10, gamma=common["gamma"]),
        n_epochs=10,
        batch_size=250,
        learning_rate=3e-4,
        clip_range=0.2,
        gae_lambda=0.95,
        vf_coef=0.5,
        max_grad_norm=0.5,
        ent_coef=0.0,
        **common,
    )


def returns(act, envs, horizon):
    """The return of an episode in every environment."""
    observations = envs.reset()
    total = np.zeros(envs.num_envs)
    for _ in range(horizon):
        observations, rewards, _, _ = envs.step(act(observations))
        total += rewards
    return total


def train(agent, options, task, out):
    """Trains, and evaluates now and then."""
    envs = environments(task, EVALUATION_EPISODES)
    # streams that no training environment has
    envs.seed(1000 * options.seed + 500)
    normalization = agent.get_vec_normalize_env()

    def act(observations):
        if normalization is not None:
            # with the statistics of training, which this does not change
            observations = normalization.normalize_obs(observations)
        return agent.predict(observations, deterministic=options.algorithm == "ddpg")[0]

    begin, evaluation_seconds = time.perf_counter(), 0.0
    while agent.num_timesteps < options.steps:
        goal = min((agent.num_timesteps // options.every + 1) * options.every, options.steps)
        agent.learn(goal - agent.num_timesteps, reset_num_timesteps=False)
        evaluation_begin = time.perf_counter()
        result = returns(act, envs, task.horizon)
        now = time.perf_counter()
        evaluation_seconds += now - evaluation_begin
        line = {
            "real_steps": agent.num_timesteps,
            "return_pre_mean": result.mean(),
            "return_pre_std": result.std(),
            "wall_seconds": now - begin,
            "evaluation_seconds": evaluation_seconds,
        }
        out.write(json.dumps(line) + "\n")
        out.flush()
        rate = agent.num_timesteps / (now - begin - evaluation_seconds)
        progress = f"return {result.mean():8.1f} ± {result.std():.1f}  {rate:,.0f} steps/s"
        print(f"{agent.num_timesteps:9,} steps  {progress}", flush=True)


def main():
    parser = argparse.ArgumentParser(description="Stable-Baselines3 on our half-cheetah and swimmer.")
    parser.add_argument("--algorithm", choices=["trpo", "ppo", "ddpg", "random"], required=True)
    parser.add_argument("--environment", choices=["half-cheetah", "swimmer"], required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=1_000_000, help="real steps")
    parser.add_argument("--every", type=int, default=20_000, help="real steps from one evaluation to the next")
    parser.add_argument("--model", choices=["ours", "gymnasium"], default="ours", help="whose MJCF file")
    parser.add_argument("--out", type=Path, help="where the evaluations go, one JSON object a line")
    options = parser.parse_args()
    if options.out is None and options.algorithm != "random":
        parser.error("--out is needed for training")

    print(f"Python {sys.version.split()[0]}, " + ", ".join(f"{name} {version(name)}" for name in PACKAGES), flush=True)
    torch.set_num_threads(1)
    task = Task(options.environment, ASSETS if options.model == "ours" else GYMNASIUM)
    if options.algorithm == "random":
        envs, generator = environments(task, 200), np.random.default_rng(options.seed)
        envs.seed(1000 * options.seed)
        result = returns(lambda o: generator.uniform(-1, 1, (len(o), task.model.nu)), envs, task.horizon)
        error = result.std() / np.sqrt(len(result))
        print(f"{len(result)} episodes of random actions: {result.mean():.1f}, standard error {error:.1f}")
        return
    with options.out.open("w") as out:
        train(model(options.algorithm, task, options.seed), options, task, out)


if __name__ == "__main__":
    main()
