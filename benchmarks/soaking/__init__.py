"""The parts of `soak.py`: three bars, and what they share."""
