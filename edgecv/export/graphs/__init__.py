"""ONNX graphs: read, written, simplified, given shapes, opened."""
