"""What an ONNX file holds, and who can run it."""
