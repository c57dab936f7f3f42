"""The queue: Muster against River."""
