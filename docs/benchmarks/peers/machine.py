"""The processor, and what each peer makes of it."""

import os
import platform
import subprocess
import sys
from pathlib import Path

FLAGS = (
    "sse4_2",
    "avx",
    "fma",
    "avx2",
    "avx_vnni",
    "avx512f",
    "avx512dq",
    "avx512bw",
    "avx512vl",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_tile",
    "amx_bf16",
    "amx_int8",
    "asimd",
    "sve",
    "sve2",
)

# They would choose the instructions of a peer instead of the peer itself, and its results would not be its best.
PINS = (
    "OPENBLAS_CORETYPE",
    "OPENBLAS_L2_SIZE",
    "MKL_ENABLE_INSTRUCTIONS",
    "MKL_DEBUG_CPU_TYPE",
    "ONEDNN_MAX_CPU_ISA",
    "DNNL_MAX_CPU_ISA",
    "ATEN_CPU_CAPABILITY",
)


def unpin():
    """To be called before any peer is imported: libraries read these variables once."""
    for name in PINS:
        if os.environ.pop(name, None) is not None:
            print(f"{name} is not passed on: each peer chooses its own instructions", file=sys.stderr)


def cores():
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def restrict(threads):
    """To be called before JAX is imported: it has no setting, and takes a thread for each core that it may use."""
    if threads < cores() and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def processor():
    """Name and flags."""
    entries = {}
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            entries.setdefault(key.strip(), value.strip())
    except OSError:
        pass
    flags = entries.get("flags", entries.get("Features", "")).split()
    name = entries.get("model name") or platform.processor() or platform.machine()
    return name, [flag for flag in FLAGS if flag in flags]


def torch_row(threads):
    import torch

    chosen = torch.backends.cpu.get_cpu_capability()
    # MKL and oneDNN tell what they chose only when they compute, on standard output
    for library, variable, mark, work in (
        ("MKL", "MKL_VERBOSE", "MKL_VERBOSE", "torch.ones(64, 64) @ torch.ones(64, 64)"),
        ("oneDNN", "ONEDNN_VERBOSE", "cpu,isa:", "torch.ones(64, 64).to_mkldnn().to_dense()"),
    ):
        process = subprocess.run(
            [sys.executable, "-c", f"import torch; {work}"],
            env=os.environ | {variable: "1"},
            capture_output=True,
            text=True,
        )
        found = next((line for line in process.stdout.splitlines() if mark in line), None)
        if found:
            # of MKL's line only what follows the name of the instructions
            found = found.split(mark)[-1].split("64 architecture")[-1].split(", Lnx")[0]
            chosen += f"; {library}: {found.strip()}"
    return "PyTorch", torch.__version__, threads, chosen


def jax_row():
    import jax
    import jaxlib

    flags = os.environ.get("XLA_FLAGS", "")
    chosen = f"chosen by XLA{f' under {flags}' if flags else ''}"
    return "JAX", f"{jax.__version__}, jaxlib {jaxlib.__version__}", cores(), chosen


def numpy_row():
    import numpy

    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return "NumPy", numpy.__version__, "unknown", "unknown without threadpoolctl"
    # others may bring a BLAS of their own
    own = [info for info in threadpool_info() if info["user_api"] == "blas" and "numpy" in info["filepath"]]
    if not own:
        return "NumPy", numpy.__version__, "unknown", "unknown"
    info = own[0]
    version = f"{numpy.__version__}, {info['internal_api']} {info['version']}"
    return "NumPy", version, info["num_threads"], info.get("architecture", "unknown")
