#!/usr/bin/env bash
# A client in another language, generated from proto/: lists and watches jobs and machines of a gust that runs.
#
#   examples/python/run.sh HOST:PORT TOKEN [CHANGES]
#
# Needs Python 3 with venv; installs grpcio into a directory of its own, pinned.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=scripts/ensure.sh
source scripts/ensure.sh

root="$gust_tools/python-grpc-1.85"
if [ ! -x "$root/bin/python" ]; then
  say "installing grpcio and grpcio-tools into $root (once)"
  python3 -m venv "$root"
  "$root/bin/pip" install --quiet 'grpcio==1.85.*' 'grpcio-tools==1.85.*'
fi
out="$(mktemp -d)"
trap 'rm -rf "$out"' EXIT
"$root/bin/python" -m grpc_tools.protoc --proto_path=proto --python_out="$out" --grpc_python_out="$out" gust/v1/admin.proto
PYTHONPATH="$out" "$root/bin/python" examples/python/operate.py "$@"
