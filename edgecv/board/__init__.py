"""The board that this runs on: what it is, how it is set, what it draws, what slows it down.

All of it is read from the kernel's files (`sysfs`, `procfs`, the device tree) and never written.
Each function takes a `SystemFiles`, whose root a test or a container can move.
"""
