# What the commands of this repository need beyond Rust, and how it is installed. Sourced, never run.
# Works on Debian and Ubuntu; elsewhere it says what is missing and leaves the installing to you.
# shellcheck shell=bash

# Tools that are built from source live here, once for all clones.
gust_tools="${GUST_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/gust-tools}"

say() {
  printf '== %s\n' "$*" >&2
}

# Installs the Debian packages named, and says so.
install_packages() {
  if ! command -v apt-get >/dev/null; then
    say "missing: $*. Install them with your system's package manager (Debian names given) and try again."
    return 1
  fi
  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    as_root=(sudo)
  fi
  say "installing with apt-get: $*"
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2
}

# Rust itself is the one thing expected to be there, and new enough for Cargo.toml.
ensure_rust() {
  local wanted have
  if ! command -v cargo >/dev/null && [ -x "$HOME/.cargo/bin/cargo" ]; then
    PATH="$HOME/.cargo/bin:$PATH"
  fi
  command -v cargo >/dev/null || {
    say "cargo is missing: install Rust first (https://rustup.rs)"
    return 1
  }
  wanted=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
  have=$(rustc --version | sed 's/^rustc \([0-9.]*\).*/\1/')
  if [ "$(printf '%s\n' "$wanted" "$have" | sort -V | head -n 1)" != "$wanted" ]; then
    say "Rust $have is too old: gust needs $wanted or newer (rustup update stable, or https://rustup.rs)"
    return 1
  fi
}

# A C compiler (for the TLS library) and the protobuf compiler with its well-known types.
ensure_build_packages() {
  local missing=()
  command -v cc >/dev/null || missing+=(build-essential)
  command -v protoc >/dev/null || missing+=(protobuf-compiler)
  [ -e /usr/include/google/protobuf/timestamp.proto ] || [ -e "${PROTOC_INCLUDE:-}/google/protobuf/timestamp.proto" ] ||
    missing+=(libprotobuf-dev)
  if [ ${#missing[@]} -gt 0 ]; then
    install_packages "${missing[@]}"
  fi
}

# What only the tests need: etcd, and Google's Python client in a virtual environment.
ensure_test_packages() {
  local missing=()
  command -v etcd >/dev/null || missing+=(etcd-server)
  command -v python3 >/dev/null || missing+=(python3)
  python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
  if [ ${#missing[@]} -gt 0 ]; then
    install_packages "${missing[@]}"
  fi
}

# The virtual environment in .venv, made anew whenever the list of requirements changes.
ensure_python() {
  local wanted have
  wanted=$(sha256sum <tests/python/requirements.txt)
  have=$(cat .venv/gust-requirements 2>/dev/null || true)
  if [ "$wanted" != "$have" ]; then
    say "making the Python environment .venv from tests/python/requirements.txt"
    rm -rf .venv
    python3 -m venv .venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -r tests/python/requirements.txt
    printf '%s\n' "$wanted" >.venv/gust-requirements
  fi
  GUST_TEST_PYTHON="$PWD/.venv/bin/python"
  export GUST_TEST_PYTHON
}

# cargo-deny at a pinned version. A debug build: it takes a third of the time and checks as much.
cargo_deny_version=0.20.2
ensure_cargo_deny() {
  local root="$gust_tools/cargo-deny-$cargo_deny_version"
  if [ ! -x "$root/bin/cargo-deny" ]; then
    say "building cargo-deny $cargo_deny_version into $root (once; some minutes)"
    # Outside of the repository, so that its own settings and lock file do not matter.
    (cd / && cargo install --quiet --locked --debug --root "$root" "cargo-deny@$cargo_deny_version")
  fi
  PATH="$root/bin:$PATH"
}

# buf at a pinned version, where Go is there to build it. Without Go, returns 1.
buf_version=v1.75.0
ensure_buf() {
  local root="$gust_tools/buf-$buf_version"
  if [ ! -x "$root/buf" ]; then
    command -v go >/dev/null || return 1
    say "building buf $buf_version into $root (once; some minutes)"
    (cd / && GOBIN="$root" GOFLAGS=-mod=mod go install "github.com/bufbuild/buf/cmd/buf@$buf_version") || return 1
  fi
  PATH="$root:$PATH"
}

# kubernetes-validate at a pinned version: it brings the schemas of each Kubernetes along and needs no network.
# Returns 1 where there is no Python with venv.
kubernetes_validate_version=1.37.0
ensure_kubernetes_validate() {
  local root="$gust_tools/kubernetes-validate-$kubernetes_validate_version"
  if [ ! -x "$root/bin/kubernetes-validate" ]; then
    python3 -c 'import ensurepip, venv' 2>/dev/null || return 1
    say "installing kubernetes-validate $kubernetes_validate_version into $root"
    python3 -m venv "$root" || return 1
    "$root/bin/python" -m pip install --quiet --disable-pip-version-check \
      "kubernetes-validate==$kubernetes_validate_version" || return 1
  fi
  PATH="$root/bin:$PATH"
}
