"""The API and the operators' screen."""
