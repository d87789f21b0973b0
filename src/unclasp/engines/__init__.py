"""Inference engines; `opening` chooses among them.

ONNX Runtime runs the shipped model, the small networks around it and exported ONNX models, OpenVINO runs its own
format, and torch runs weights files and everything on a GPU.
"""
