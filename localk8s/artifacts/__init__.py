"""Floor 2: what a cluster is made of, found through an ordered list of sources and checked by digest."""
