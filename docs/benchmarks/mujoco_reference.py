#!/usr/bin/env python3
"""What MuJoCo does with our robots, for the tests in crates/mbmpo-envs: tests/data/mujoco_long.json.

Needs `pip install mujoco numpy` (written with mujoco 4.0.0). Run from the repository's root:

    MUJOCO_GL=disable python3 docs/benchmarks/mujoco_reference.py

For each robot: the root's height after four seconds without control, and 100 control steps of extreme controls, each
held for ten steps, from a disturbed initial state; every tenth state is kept.
"""
import json
import os

os.environ.setdefault("MUJOCO_GL", "disable")
import mujoco
import numpy as np

# file, time steps in a control step, joint or body coordinate of the root's height in qpos, initial qpos
ROBOTS = [
    ("half_cheetah", 1, 1, None),
    ("swimmer", 1, None, None),
    ("hopper", 5, 1, None),
    ("walker2d", 5, 1, None),
    ("ant", 2, 2, [0, 0, 0.55, 1, 0, 0, 0, 0, 1, 0, -1, 0, -1, 0, 1]),
    ("pr2", 1, None, None),
]
STEPS, HOLD, SEED = 100, 10, 20180914


def main():
    result = {"mujoco": mujoco.__version__, "robots": {}}
    for k, (name, skip, height, start) in enumerate(ROBOTS):
        model = mujoco.MjModel.from_xml_path(f"assets/{name}.xml")
        data = mujoco.MjData(model)
        # the solver's own tolerance would be the largest difference
        model.opt.tolerance = 0
        start = model.qpos0.copy() if start is None else np.array(start, float)
        robot = {"frame_skip": skip, "initial_qpos": start.tolist()}
        if height is not None:
            data.qpos[:] = start
            for _ in range(round(4 / model.opt.timestep)):
                mujoco.mj_step(model, data)
            robot["rest_height"] = float(data.qpos[height])
            robot["height_coordinate"] = height
        rng = np.random.default_rng([SEED, k])
        mujoco.mj_resetData(model, data)
        data.qpos[:] = start + 0.01 * rng.standard_normal(model.nq)
        if model.jnt_type[0] == mujoco.mjtJoint.mjJNT_FREE:
            data.qpos[3:7] /= np.linalg.norm(data.qpos[3:7])
        data.qvel[:] = 0.1 * rng.standard_normal(model.nv)
        robot.update(qpos=[data.qpos.tolist()], qvel=[data.qvel.tolist()], controls=[])
        low, high = model.actuator_ctrlrange.T
        for t in range(STEPS):
            if t % HOLD == 0:
                data.ctrl[:] = np.where(rng.uniform(size=model.nu) < 0.5, low, high)
                robot["controls"].append(data.ctrl.tolist())
            for _ in range(skip):
                mujoco.mj_step(model, data)
            if t % HOLD == HOLD - 1:
                robot["qpos"].append(data.qpos.tolist())
                robot["qvel"].append(data.qvel.tolist())
        result["robots"][name] = robot
    with open("tests/data/mujoco_long.json", "w") as file:
        json.dump(result, file, separators=(",", ":"))
        file.write("\n")


main()
