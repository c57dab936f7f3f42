"""Tasks from a queue to workers and back: Muster against Dask and Celery."""
