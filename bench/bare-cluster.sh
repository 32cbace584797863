#!/usr/bin/env bash
# The limit to measure `localk8s start` against: the least that has to happen for a real one-node cluster to answer a request,
# with every binary and image already on disk. No waiting longer than needed, no frills: one etcd, one API server, controller manager,
# scheduler, containerd, kubelet, kube-proxy, one pod behind a NodePort.
#
#   bare-cluster.sh BIN_DIR IMAGE_DIR      (as root, in a network namespace without uplink, for example under `unshare -n`)
#
# BIN_DIR   kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubeadm kubectl
# IMAGE_DIR pause.tar (its tag as $PAUSE) and echoserver.tar (its tag as $ECHO, serving HTTP on 8080), as `ctr images import` takes them
# Prints: seconds to API ready, node Ready, pod answering through the NodePort. Then ends all it started.
set -euo pipefail
BIN=$1 IMAGES=$2
PAUSE=${PAUSE:-k8s.gcr.io/pause:3.2} ECHO=${ECHO:-k8s.gcr.io/echoserver:1.4} VERSION=${VERSION:-$("$BIN/kubeadm" version -o short)}
PATH=$BIN:$PATH IP=10.66.0.1 R=$(mktemp -d) P=
minor=$(echo "$VERSION" | cut -d. -f2) # what differs from 1.20 to 1.36
api=v1beta2; [ "$minor" -lt 22 ] || api=v1beta3; [ "$minor" -lt 31 ] || api=v1beta4
mkdir -p "$R"/{pki,kc,etcd,kubelet,log,ctd,cni}; P=$R/pki
pids=()
daemon() { local log=$R/log/$1; shift; setsid "$@" >"$log" 2>&1 & pids+=($!); disown $!; }
namespaces() { ls /run/netns 2>/dev/null | grep '^cni-' || true; }
namespaces_before=$(namespaces)
finish() {
  kubectl --kubeconfig "${admin:-$R/kc/admin.conf}" delete deploy,svc -l app=echo --now >/dev/null 2>&1 || true
  for p in "${pids[@]}"; do kill "$p" 2>/dev/null || true; done; sleep 1
  for p in "${pids[@]}"; do kill -9 "$p" 2>/dev/null || true; done
  for s in $(pgrep -f "containerd-shim.*$R/ctd" || true); do kill -9 "$s" 2>/dev/null || true; done
  for n in $(comm -13 <(echo "$namespaces_before") <(namespaces)); do ip netns del "$n" 2>/dev/null || true; done
  sleep 1; grep -o "$R[^ ]*" /proc/mounts | sort -r | xargs -r -n1 umount -l 2>/dev/null || true; rm -rf "$R"
}
trap finish EXIT
now() { date +%s.%N; }
since() { awk -v a="$start" -v b="$(now)" 'BEGIN{printf "%.1f\n", b-a}'; }
until_ok() { local i; for i in $(seq 1 600); do "$@" >/dev/null 2>&1 && return; sleep 0.1; done; echo "never: $*" >&2; tail -n 5 "$R"/log/* >&2; return 1; }

ip link set lo up
ip link show br66 >/dev/null 2>&1 || { ip link add br66 type bridge; ip addr add $IP/24 dev br66; ip link set br66 up; ip route add 10.96.0.0/16 dev br66; }
# No default route: with one that leads nowhere, kubelet loses 11 s asking for cloud metadata at 169.254.169.254
cat >"$R/ctd/config.toml" <<T
version = 2
root = "$R/ctd/root"
state = "$R/ctd/state"
[grpc]
  address = "$R/ctd/sock"
[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true
  sandbox_image = "$PAUSE"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "${CNI:-/usr/lib/cni}"
    conf_dir = "$R/cni"
T
echo '{"cniVersion":"0.4.0","name":"bare","plugins":[{"type":"bridge","bridge":"cni66","isGateway":true,"ipMasq":true,"hairpinMode":true,"ipam":{"type":"host-local","ranges":[[{"subnet":"10.244.0.0/24"}]],"routes":[{"dst":"0.0.0.0/0"}]}},{"type":"portmap","capabilities":{"portMappings":true}}]}' >"$R/cni/10-bare.conflist"
cat >"$R/kubeadm.yaml" <<T
apiVersion: kubeadm.k8s.io/$api
kind: InitConfiguration
localAPIEndpoint: {advertiseAddress: $IP, bindPort: 6443}
nodeRegistration: {name: bare}
---
apiVersion: kubeadm.k8s.io/$api
kind: ClusterConfiguration
kubernetesVersion: $VERSION
certificatesDir: $P
controlPlaneEndpoint: $IP:6443
networking: {podSubnet: 10.244.0.0/16, serviceSubnet: 10.96.0.0/16}
T
cat >"$R/kubelet.yaml" <<T
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $P/ca.crt}}
authorization: {mode: Webhook}
cgroupDriver: cgroupfs
cgroupRoot: ${CGROUP_ROOT:-/}
failSwapOn: false
nodeStatusUpdateFrequency: 1s
evictionHard: {memory.available: 50Mi}
T
runtime=(--container-runtime-endpoint "unix://$R/ctd/sock")
if [ "$minor" -ge 27 ]; then echo "containerRuntimeEndpoint: unix://$R/ctd/sock" >>"$R/kubelet.yaml"; runtime=(); else runtime+=(--container-runtime remote); fi
[ "$minor" -ge 24 ] || runtime+=(--containerd "$R/ctd/sock")
[ "$minor" -lt 35 ] || echo "failCgroupV1: false" >>"$R/kubelet.yaml"
start=$(now)
# images are part of "already on disk": unpacked before the clock matters, yet counted
daemon containerd containerd -c "$R/ctd/config.toml"
until_ok ctr -a "$R/ctd/sock" version
for f in pause echoserver; do ctr -a "$R/ctd/sock" -n k8s.io images import "$IMAGES/$f.tar" >/dev/null; done &
kubeadm init phase certs all --config "$R/kubeadm.yaml" >/dev/null 2>&1
kubeadm init phase kubeconfig all --config "$R/kubeadm.yaml" --kubeconfig-dir "$R/kc" >/dev/null 2>&1
admin=$R/kc/admin.conf; [ ! -e "$R/kc/super-admin.conf" ] || admin=$R/kc/super-admin.conf
cat >"$R/proxy.yaml" <<T
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
clusterCIDR: 10.244.0.0/16
hostnameOverride: bare
clientConnection: {kubeconfig: $admin}
conntrack: {maxPerCore: 0}
T
export KUBECONFIG=$admin
daemon etcd etcd --data-dir "$R/etcd" --unsafe-no-fsync --listen-client-urls https://127.0.0.1:2379 --advertise-client-urls https://127.0.0.1:2379 --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 --initial-cluster default=http://127.0.0.1:2380 --cert-file "$P/etcd/server.crt" --key-file "$P/etcd/server.key" --client-cert-auth --trusted-ca-file "$P/etcd/ca.crt"
daemon apiserver kube-apiserver --advertise-address=$IP --allow-privileged=true --authorization-mode=Node,RBAC --client-ca-file="$P/ca.crt" --enable-admission-plugins=NodeRestriction --enable-bootstrap-token-auth=true --etcd-cafile="$P/etcd/ca.crt" --etcd-certfile="$P/apiserver-etcd-client.crt" --etcd-keyfile="$P/apiserver-etcd-client.key" --etcd-servers=https://127.0.0.1:2379 --kubelet-client-certificate="$P/apiserver-kubelet-client.crt" --kubelet-client-key="$P/apiserver-kubelet-client.key" --proxy-client-cert-file="$P/front-proxy-client.crt" --proxy-client-key-file="$P/front-proxy-client.key" --requestheader-client-ca-file="$P/front-proxy-ca.crt" --requestheader-allowed-names=front-proxy-client --requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group --requestheader-extra-headers-prefix=X-Remote-Extra- --secure-port=6443 --service-account-issuer=https://kubernetes.default.svc.cluster.local --service-account-key-file="$P/sa.pub" --service-account-signing-key-file="$P/sa.key" --service-cluster-ip-range=10.96.0.0/16 --tls-cert-file="$P/apiserver.crt" --tls-private-key-file="$P/apiserver.key"
# the kubelet spends its first 5 s looking for a docker socket: let it do that while the API server starts
daemon kubelet kubelet --root-dir "$R/kubelet" --kubeconfig "$R/kc/kubelet.conf" --config "$R/kubelet.yaml" "${runtime[@]}" --hostname-override bare --node-ip $IP
# everything at once: all of them retry until the API server answers. The controller manager and the scheduler would give up on their own
# authentication config (skip it), and the former spends 4 s creating a client per controller at its default 20 requests a second.
# Without --allocate-node-cidrs, whose IPAM controller sleeps 10 s before the others may start.
early=(--authentication-skip-lookup=true --leader-elect=false)
daemon controller-manager kube-controller-manager "${early[@]}" --kube-api-qps=500 --kube-api-burst=1000 --kubeconfig "$R/kc/controller-manager.conf" --authentication-kubeconfig "$R/kc/controller-manager.conf" --authorization-kubeconfig "$R/kc/controller-manager.conf" --client-ca-file "$P/ca.crt" --cluster-signing-cert-file "$P/ca.crt" --cluster-signing-key-file "$P/ca.key" --root-ca-file "$P/ca.crt" --service-account-private-key-file "$P/sa.key" --use-service-account-credentials
daemon scheduler kube-scheduler "${early[@]}" --kubeconfig "$R/kc/scheduler.conf"
daemon proxy kube-proxy --config "$R/proxy.yaml"
until_ok kubectl get --raw /readyz
echo "api ready    $(since)"
until_ok sh -c 'kubectl get node bare -o jsonpath="{.status.conditions[?(@.type==\"Ready\")].status}" | grep -q True'
echo "node ready   $(since)"
until_ok kubectl get sa default
kubectl create deployment echo --image="$ECHO" --port=8080 >/dev/null
kubectl expose deployment echo --type=NodePort >/dev/null
port=$(kubectl get svc echo -o jsonpath='{.spec.ports[0].nodePort}')
until_ok curl -fsS -m 2 "http://$IP:$port/"
echo "pod answers  $(since)"
