"""How networks become ONNX files: what is done to graphs, and the networks of others that are shipped as such."""
