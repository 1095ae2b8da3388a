#!/usr/bin/env bash
# Builds gust and runs `gust demo` with the arguments given. Installs what is missing, and says so.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/ensure.sh
source scripts/ensure.sh

ensure_rust
ensure_build_packages
say "building gust (the first time takes some minutes)"
cargo build --locked -p gust-cli -p gust-fakes -p gust-guest --bins
target="${CARGO_TARGET_DIR:-target}"
exec "$target/debug/gust" demo "$@"
