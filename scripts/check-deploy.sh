#!/usr/bin/env bash
# Checks deploy/ as far as that goes without a cluster: manifests against Kubernetes' own schemas, units against
# systemd. What cannot be checked here is said.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/ensure.sh
source scripts/ensure.sh

# The oldest Kubernetes that still gets fixes, and the newest.
kubernetes_versions="1.34 1.35 1.36 1.37"

skip() {
  say "SKIPPED: $*"
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Whatever is not allowed where it stands must be refused: a validator that lets everything pass shows nothing.
check_validator() {
  sed 's/terminationGracePeriodSeconds/terminationGracePeriodSecond/' "$work/kubernetes.yaml" >"$work/spoiled.yaml"
  if kubernetes-validate --strict -k 1.35 "$work/spoiled.yaml" >/dev/null 2>&1; then
    say "the validator does not notice a misspelled field"
    return 1
  fi
}

check_manifests() {
  local part version
  for part in kubernetes etcd; do
    kubectl kustomize "deploy/$part" >"$work/$part.yaml"
  done
  check_validator
  for part in kubernetes etcd; do
    for version in $kubernetes_versions; do
      kubernetes-validate --strict -k "$version" "$work/$part.yaml" >"$work/said" 2>&1 || {
        cat "$work/said" >&2
        return 1
      }
      say "deploy/$part: $(grep -c ' passed for ' "$work/said") objects are good for Kubernetes $version"
    done
  done
}

# The program need not be installed to know whether its unit makes sense.
check_units() {
  local unit
  for unit in deploy/systemd/gust.service deploy/guest/gust-guest.service; do
    sed 's|^ExecStart=/usr/local/bin/[a-z-]*|ExecStart=/bin/true|' "$unit" >"$work/$(basename "$unit")"
    systemd-analyze verify --man=no "$work/$(basename "$unit")"
    say "$unit: good for $(systemctl --version | head -n 1)"
  done
}

if ! command -v kubectl >/dev/null; then
  skip "manifests: there is no kubectl here to build them with"
elif ! ensure_kubernetes_validate; then
  skip "manifests: kubernetes-validate is a Python program, and cannot be installed here"
else
  check_manifests
fi
if command -v systemd-analyze >/dev/null; then
  check_units
else
  skip "units: there is no systemd-analyze here"
fi
