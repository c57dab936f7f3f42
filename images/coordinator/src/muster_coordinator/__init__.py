"""The control plane of a fleet: API, queue, scheduler, worker health."""
