"""Export to ONNX: processing of graphs, and export of the auxiliary networks, including those of others."""
