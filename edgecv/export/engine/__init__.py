"""TensorRT engines: recipes, the builder, and what it made of a file."""
