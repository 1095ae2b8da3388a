#!/usr/bin/env bash
# Checks and tests everything, as the build does. Installs what is missing, and says so.
#
#   scripts/test.sh             all of it
#   scripts/test.sh quick       format, lints and tests only
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/ensure.sh
source scripts/ensure.sh

started=$SECONDS
step() {
  say "$((SECONDS - started)) s: $1"
  shift
  "$@"
}

ensure_rust
ensure_build_packages
ensure_test_packages
ensure_python
# A test that finds a program missing skips itself, and says so; here everything is built, so it must not.
export GUST_TEST_STRICT=1
# Tests speak with servers of their own on loopback, which no proxy reaches.
upper=${NO_PROXY:-${no_proxy:-}}
lower=${no_proxy:-${NO_PROXY:-}}
loopback=127.0.0.0/8,localhost,::1
export NO_PROXY="${upper:+$upper,}$loopback" no_proxy="${lower:+$lower,}$loopback"

# What needs no build of ours runs beside it: builds leave a core idle for minutes, and these are tools of other languages.
beside=""
aside() {
  python3 scripts/check-docs.py
  scripts/check-proto.sh
  scripts/check-deploy.sh
  ensure_cargo_deny
  cargo deny --locked check bans licenses sources
}

step "format" cargo fmt --all --check
if [ "${1:-}" != quick ]; then
  said=$(mktemp)
  step "beside: links of documents, protos, manifests, dependencies" true
  aside >"$said" 2>&1 &
  beside=$!
  trap 'kill "$beside" 2>/dev/null || true; rm -f "$said"' EXIT
fi
step "lints" cargo clippy --workspace --all-targets --locked -- -D warnings
# Builds the programs, too: tests run them. Building these first would build all they stand on twice, since tests ask
# their dependencies for more.
step "programs and tests" cargo test --workspace --locked --no-run
if [ -n "$beside" ]; then
  ended=0
  wait "$beside" || ended=$?
  step "said beside" cat "$said"
  [ "$ended" -eq 0 ] || { say "links, protos, manifests or dependencies: see above"; exit 1; }
fi
step "tests" cargo test --workspace --locked
say "$((SECONDS - started)) s: everything passed"
