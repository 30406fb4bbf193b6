"""Somebody else's ONNX file: what its outputs mean and how it is fed."""
