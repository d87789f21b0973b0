"""What runs networks: torch for weights files, ONNX Runtime and OpenVINO for exported ones."""
