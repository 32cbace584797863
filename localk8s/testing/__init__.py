"""Floor 7: what users need to test against localk8s."""
