#!/usr/bin/env bash
# Installs the chart in a real Kubernetes API server, upgrades, scales and rolls back: TestCluster in deployments/helm. It builds
# etcd and kube-apiserver from their Go modules, once.
#
#   kube-test.sh [flags of go test...]
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/lib.sh"
cd "$here/../.."
"$here/install.sh" kube
TEST_ETCD=$(tool etcd) TEST_KUBE_APISERVER=$(tool kube-apiserver) \
  GOWORK=off go -C deployments/helm test -tags=cluster -vet=off -count=1 -timeout=15m -v -run='^TestCluster$' "$@" .
