"""The live state and the REST API."""
