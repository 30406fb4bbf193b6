"""A bundle: one model in every form that a device may want, in one file `name.edgecv`.

It is a zip archive whose members are stored as they are: `manifest.json` with the description, the
checksums and what was measured, an ONNX file per precision, the calibration table, and TensorRT
engines for the machines that they were built on. Reading one and adding to one need neither onnx
nor torch.
"""
