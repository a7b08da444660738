"""Configuration: the loader, and the profiles, sites, plans and deployments that it reads."""
