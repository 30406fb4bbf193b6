"""A graph in float16 and in 8 bits, and what that costs."""
