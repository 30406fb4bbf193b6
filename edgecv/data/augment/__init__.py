"""Augmentation of training images: a recipe in TOML, and what it does to a sample.

`recipe` and `files` describe and need no torch; the other modules carry it out: transforms of a
`frame` as decoded, then the fit into the input or a mosaic of four (`mixing`), then transforms of
the `pixels` of the input.
"""
