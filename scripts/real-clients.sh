#!/usr/bin/env bash
# Runs real clients of Buildkite against the fake one and prints a table of who did what. Ends with 1 if one of them met
# something that is not as it must be. Which clients there are is said by the environment; those that are not there are
# told of as SKIPPED. How to get them: scripts/real-clients.md.
#
#   GUST_BUILDKITE_AGENT=/path/to/3/buildkite-agent:/path/to/4/buildkite-agent GUST_STACKS_CLIENT=/path GUST_BK_CLI=/path \
#     GUST_AGENT_METRICS=/path scripts/real-clients.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/ensure.sh
source scripts/ensure.sh

ensure_rust
ensure_build_packages
exec cargo test --locked -p gust-fakes --test real_clients
