"""The native driver: each node is a set of namespaces on this Linux host."""
