"""Floor 0: what localk8s talks about. Pure: no I/O, no environment, no clock."""
