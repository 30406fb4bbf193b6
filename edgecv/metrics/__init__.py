"""What is measured: detection metrics, latency."""
