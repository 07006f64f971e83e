#!/usr/bin/env python3
"""What MuJoCo does, for the tests in crates/mbmpo-envs: tests/data/mujoco_long.json and tests/data/mujoco_odd.json.

Needs `pip install mujoco numpy` (written with mujoco 4.0.0). Run from the repository's root:

    MUJOCO_GL=disable python3 docs/benchmarks/mujoco_reference.py

For each robot: the root's height after four seconds without control, and 100 control steps of extreme controls, each
held for ten steps, from a disturbed initial state; every tenth state is kept. Then 50 control steps of robots that nobody
would build, each with something that the robots of the paper lack.
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

GHOST = 'contype="0" conaffinity="0"'
ODD = {
    "two tilted hinges": f"""
        <body pos="0 0 1" euler="0.3 0.5 -0.2">
          <joint name="a" axis="1 2 3" pos="0.1 0.05 -0.02" damping="0.1" armature="0.03" stiffness="3" springref="0.4" ref="0.2"/>
          <geom type="box" size="0.1 0.2 0.05" pos="0.1 0 -0.2" quat="0.9 0.1 0.3 -0.2" {GHOST}/>
          <body pos="0.3 0.1 -0.4" quat="0.5 0.2 -0.7 0.1">
            <joint name="b" axis="-1 0.3 0.2" pos="0 0.1 0" damping="0.02" ref="-0.3"/>
            <geom type="cylinder" size="0.05 0.2" euler="0.3 0.1 0.7" {GHOST}/>
          </body>
        </body>""",
    "three joints in a body": f"""
        <body pos="0 0 1" euler="0.1 0.2 0.3">
          <joint name="a" axis="0 -1 0" pos="0.1 0 0.2" range="-0.1 0.1"/>
          <joint name="b" type="slide" axis="1 1 0" range="-0.05 0.02" stiffness="20" springref="0.3" ref="0.01" damping="1"/>
          <joint name="c" axis="-1 0 0" pos="0 0.2 0" armature="0.1"/>
          <geom type="capsule" size="0.05 0.2" {GHOST}/>
          <geom type="sphere" size="0.1" pos="0.2 0.1 0" mass="0.7" {GHOST}/>
        </body>""",
    "a free body with welded parts on the floor": """
        <geom type="plane" size="1 1 1" friction="0.8"/>
        <body pos="0 0 0.18" quat="0.9 0.1 0.2 0.3">
          <joint name="root" type="free"/>
          <geom type="capsule" fromto="-0.2 0 0 0.2 0 0" size="0.06"/>
          <body pos="0.2 0 0" euler="0.2 0.4 0.1">
            <geom type="capsule" fromto="0 0 0 0 0.3 -0.1" size="0.04"/>
            <body pos="0 0.3 0" euler="1 0 0">
              <joint name="a" axis="1 0 0" range="-0.5 0.5" damping="0.1"/>
              <geom type="sphere" size="0.07"/>
            </body>
          </body>
        </body>""",
    "two free crossing capsules": """
        <geom type="plane" size="1 1 1"/>
        <body pos="0 0 0.1"><joint name="p" type="free"/><geom type="capsule" fromto="-0.3 0 0 0.3 0 0.01" size="0.08"/></body>
        <body pos="0 0.02 0.27"><joint name="q" type="free"/><geom type="capsule" fromto="0.03 -0.3 0 0 0.3 0.05" size="0.08"/></body>""",
    "a sphere on ice": """
        <geom type="plane" size="1 1 1" friction="0"/>
        <body pos="0 0 0.1"><joint name="p" type="free"/><geom type="sphere" size="0.1" friction="0"/></body>""",
    "a capsule and a cylinder in water": f"""
        <body><joint name="p" type="free"/><geom type="capsule" fromto="-0.2 0.1 0 0.3 0.2 0.1" size="0.05" {GHOST}/></body>
        <body pos="1 0 0"><joint name="q" type="free"/><geom type="cylinder" size="0.05 0.2" euler="0.4 0.3 0.2" {GHOST}/></body>""",
}


def odd_robot(name, body, integrator):
    fluid = 'density="1000" viscosity="0.5"' if "water" in name else ""
    joints = [joint for joint in "abc" if f'name="{joint}"' in body]
    motors = "".join(f'<motor joint="{j}" gear="1.5" ctrlrange="-1 1"/>' for j in joints)
    return f"""<mujoco model="{name}">
      <compiler angle="radian" autolimits="true"/>
      <option timestep="0.005" gravity="0.3 -0.2 -9.81" integrator="{integrator}" {fluid}/>
      <worldbody>{body}</worldbody>
      <actuator>{motors}</actuator>
    </mujoco>"""


def odd_robots():
    robots = []
    for k, (name, body) in enumerate(ODD.items()):
        for integrator in ("Euler", "RK4"):
            xml = odd_robot(name, body, integrator)
            model = mujoco.MjModel.from_xml_string(xml)
            model.opt.tolerance = 0
            data = mujoco.MjData(model)
            rng = np.random.default_rng([SEED, 100 + k])
            mujoco.mj_integratePos(model, data.qpos, 0.02 * rng.standard_normal(model.nv), 1)
            data.qvel[:] = 0.3 * rng.standard_normal(model.nv)
            robot = {"name": name, "xml": xml, "qpos": [data.qpos.tolist()], "qvel": [data.qvel.tolist()]}
            robot["controls"] = rng.uniform(-1, 1, (5, model.nu)).tolist()
            for controls in robot["controls"]:
                data.ctrl[:] = controls
                for _ in range(10):
                    mujoco.mj_step(model, data)
                robot["qpos"].append(data.qpos.tolist())
                robot["qvel"].append(data.qvel.tolist())
            robots.append(robot)
    return robots


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
    save("mujoco_long", result)
    save("mujoco_odd", {"mujoco": mujoco.__version__, "robots": odd_robots()})


def save(name, content):
    with open(f"tests/data/{name}.json", "w") as file:
        json.dump(content, file, separators=(",", ":"))
        file.write("\n")


main()
