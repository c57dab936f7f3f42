"""The Muster operator: custom resources in, running fleets out."""
