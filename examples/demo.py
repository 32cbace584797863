"""What `localk8s demo` does, as a library: a cluster, an echo server in it, one answered request."""

from localk8s import Cluster

cluster = Cluster("example")
cluster.start(nodes=2)
try:
    result = cluster.demo(replicas=2)
    print(f"{result.url} answered in {result.milliseconds:.0f} ms")
    if result.answer:
        print(f"pod {result.answer.pod} on {result.answer.node}, client {result.answer.client}")
finally:
    cluster.delete()
