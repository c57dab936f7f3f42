"""What operators see: metrics, health, readiness, queue and workers."""
