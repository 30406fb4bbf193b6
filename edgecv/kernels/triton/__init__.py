"""OpenAI Triton implementations of the operators, on CUDA tensors and on the caller's stream.

Import an operator from its module, `from edgecv.kernels.triton.nms import edge_nms`: it needs
`torch` and `triton`, which nothing outside of this package does. No function waits for the device
or looks at what it computed, so that all can be captured in a CUDA graph. With TRITON_INTERPRET=1
in the environment before the import, Triton runs the same kernels on CPU tensors, for tests.
"""
