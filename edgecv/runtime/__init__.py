"""Running a model: sessions, and everything around the network."""
