"""The parts of the fake minikube."""
