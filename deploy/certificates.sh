#!/usr/bin/env bash
# Makes the authorities and certificates of one deployment with openssl, for those who have no authority of their own.
#
#   deploy/certificates.sh DIR MACHINES PEERS MEMBERS
#
#   DIR       is filled; what is there already is kept, so that a second run makes only what is missing
#   MACHINES  names that machines dial, as in `advertise`, without ports
#   PEERS     names of the replicas, as in [peer] `address`
#   MEMBERS   names of the members of etcd
#
# Each is a list with commas: names or IP addresses. For the Kubernetes manifests:
#
#   deploy/certificates.sh pki gust.internal.example.com \
#     gust-0.gust-peers.gust.svc,gust-1.gust-peers.gust.svc,gust-2.gust-peers.gust.svc \
#     etcd-0.etcd.gust-etcd.svc,etcd-1.etcd.gust-etcd.svc,etcd-2.etcd.gust-etcd.svc
#
# Certificates are good for DAYS (default 365): remove the old ones, run this again, restart. Authorities are good for ten
# years; keep their keys (DIR/*/ca.key) away from the replicas.
set -euo pipefail
umask 077
[ $# -eq 4 ] || { sed -n '2,/^set/p' "$0" | sed '$d; s/^# \{0,1\}//' >&2; exit 2; }
dir=$1 machines=$2 peers=$3 members=$4 days=${DAYS:-365}

# authority DIR NAME
authority() {
  mkdir -p "$1"
  [ -e "$1/ca.crt" ] && return
  # Path length 0: it signs certificates, and no further authorities.
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj "/CN=$2" \
    -addext basicConstraints=critical,CA:TRUE,pathlen:0 -addext keyUsage=critical,keyCertSign,cRLSign \
    -keyout "$1/ca.key" -out "$1/ca.crt" 2>/dev/null
}

# certificate AUTHORITY-DIR FILE COMMON-NAME USAGES NAMES
certificate() {
  local file=$1/$2 names='' name
  [ -e "$file.crt" ] && return
  for name in ${5//,/ }; do
    if [[ $name =~ ^[0-9.]+$ || $name == *:* ]]; then names+=,IP:$name; else names+=,DNS:$name; fi
  done
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$3" \
    -keyout "$file.key" -out "$file.csr" 2>/dev/null
  {
    echo basicConstraints=critical,CA:FALSE
    echo keyUsage=critical,digitalSignature
    echo "extendedKeyUsage=$4"
    [ -z "$names" ] || echo "subjectAltName=${names#,}"
  } > "$file.ext"
  openssl x509 -req -in "$file.csr" -CA "$1/ca.crt" -CAkey "$1/ca.key" -CAcreateserial -days "$days" \
    -extfile "$file.ext" -out "$file.crt" 2>/dev/null
  rm "$file.csr" "$file.ext"
  echo "$file.crt"
}

# Four authorities, so that no certificate opens a door it was not made for.
authority "$dir/machines" "gust: for machines"
authority "$dir/peer" "gust: replicas"
authority "$dir/etcd" "gust: etcd and its clients"
authority "$dir/etcd-peer" "gust: members of etcd"

certificate "$dir/machines" tls gust serverAuth "$machines"
# Replicas, and members of etcd, are both sides of a connection.
certificate "$dir/peer" tls gust-peer serverAuth,clientAuth "$peers"
# Loopback for etcdctl on the member itself.
certificate "$dir/etcd" server etcd serverAuth "$members,localhost,127.0.0.1"
certificate "$dir/etcd" client gust clientAuth ""
certificate "$dir/etcd-peer" tls etcd-peer serverAuth,clientAuth "$members"
