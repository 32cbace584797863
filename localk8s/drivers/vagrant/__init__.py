"""The Vagrant driver: several real machines, one kubeadm cluster."""
