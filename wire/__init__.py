"""The contract between gateway and cloud: the words both use and the only spelling of them."""
