"""Inference engines; `opening` chooses among them.

ONNX Runtime runs the shipped model and exported ONNX models, OpenVINO runs its own format, and torch runs weights files
and everything on a GPU. ONNX Runtime runs the small auxiliary networks.
"""
