"""Floor 5: what a user does with a running cluster. Take a cluster, return results, print nothing."""
