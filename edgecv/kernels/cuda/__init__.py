"""The operators on an NVIDIA GPU: device arrays in and out, on the caller's stream.

`edgecv.kernels` calls them when an array lives on a GPU. Nothing here waits for the GPU or moves
data to or from it, unless a function says so.
"""
