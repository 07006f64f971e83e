"""What `hot_loops.py` measures beside our program: PyTorch, JAX and OpenBLAS."""
