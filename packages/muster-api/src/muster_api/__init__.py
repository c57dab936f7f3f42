"""Models of the muster.dev custom resources, the one source of their CRDs."""
