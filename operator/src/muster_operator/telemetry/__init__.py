"""What coordinators say about their queues and workers."""
