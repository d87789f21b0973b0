"""What runs networks; `opening` says which one when.

ONNX Runtime runs the shipped model and exported ones, OpenVINO its own format, torch weights files and whatever is on a
GPU; OpenCV stands in for ONNX Runtime where small networks have to do without.
"""
