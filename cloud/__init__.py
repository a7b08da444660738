"""The aggregator: takes in, stores, counts, warns."""
