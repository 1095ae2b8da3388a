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

step "format" cargo fmt --all --check
if [ "${1:-}" != quick ]; then
  step "documents: links and anchors" python3 scripts/check-docs.py
  step "protos" scripts/check-proto.sh
  step "deployment files" scripts/check-deploy.sh
  ensure_cargo_deny
  step "dependencies: bans, licenses, sources" cargo deny --locked check bans licenses sources
fi
step "lints" cargo clippy --workspace --all-targets --locked -- -D warnings
step "programs" cargo build --workspace --bins --locked
step "tests" cargo test --workspace --locked
say "$((SECONDS - started)) s: everything passed"
