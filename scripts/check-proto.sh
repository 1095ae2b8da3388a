#!/usr/bin/env bash
# Lints proto/ with buf (rules in buf.yaml). Where buf is not there and cannot be built, protoc at least
# compiles the files, and that is said.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/ensure.sh
source scripts/ensure.sh

mapfile -t files < <(find proto -name '*.proto' | sort)
protoc --proto_path=proto --descriptor_set_out=/dev/null "${files[@]}"
if ensure_buf; then
  buf lint
  say "protos: compiled by protoc, linted by buf $buf_version"
else
  say "SKIPPED: buf lint. It is a Go program and there is no Go here; protoc compiled the files, nothing judged their style"
fi
