"""The REST face: JSON to the messages of the service, and back."""
