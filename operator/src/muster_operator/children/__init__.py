"""What a custom resource becomes: pure functions from specs to manifests."""
