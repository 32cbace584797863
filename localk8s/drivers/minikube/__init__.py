"""The minikube driver: a user's own minikube, to the letter of its contract."""
