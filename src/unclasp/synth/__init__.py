"""Rendered hands with everything known about them: joints, parts, cameras. Needs the extra `synth` (numba)."""
