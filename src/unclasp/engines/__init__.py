"""Inference engines; `opening` chooses among them.

ONNX Runtime runs the shipped model and exported ONNX models, OpenVINO runs its own format, and torch runs weights files
and everything on a GPU. For the small auxiliary networks, OpenCV replaces ONNX Runtime where that is not installed.
"""
