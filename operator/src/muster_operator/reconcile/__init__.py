"""Bringing what is there to what is wanted: observe, plan, apply, and say how it stands."""
