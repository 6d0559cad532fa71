#!/usr/bin/env bash
# Does systemd accept the unit, does it stay as closed as it was, and does the Dockerfile name the pinned toolchain?
#   packaging/check.sh PATH_OF_THE_BINARY
#
# The image is not built here: that takes a container engine and base images from a registry. Of the Dockerfile only its
# lines are read.
set -euo pipefail

root=$(realpath "$(dirname "${BASH_SOURCE[0]}")/..")
unit=$root/packaging/handstamp.service
binary=$(realpath "$1")

fail() {
  echo "packaging: $*" >&2
  exit 1
}

# What the server's own promises rest on, whatever systemd on this machine knows to check.
for line in 'Type=exec' 'KillSignal=SIGTERM' 'StandardOutput=null' 'Restart=on-failure' 'DynamicUser=yes' 'StateDirectory=handstamp' \
  'NoNewPrivileges=yes' 'ProtectSystem=strict' 'CapabilityBoundingSet=' 'UMask=0077'; do
  grep -qxF "$line" "$unit" || fail "handstamp.service no longer says $line"
done

pinned=$(sed -nE 's/^channel = "(.*)"/\1/p' "$root/rust-toolchain.toml")
grep -qF "FROM rust:$pinned-alpine " "$root/Dockerfile" || fail "Dockerfile: the image is not rust:$pinned-alpine"
grep -qxF "ENV RUSTUP_TOOLCHAIN=$pinned" "$root/Dockerfile" || fail "Dockerfile: RUSTUP_TOOLCHAIN is not $pinned"

command -v systemd-analyze >/dev/null || fail "systemd-analyze is missing: apt-get install systemd"
systemd-analyze security --help 2>&1 | grep -q -- --offline ||
  fail "this systemd-analyze is too old to judge a unit that does not run (--offline): systemd 250 or newer is needed"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# The copy names the binary that was just built: systemd wants ExecStart to be there.
sed "s|^ExecStart=/usr/local/bin/handstamp|ExecStart=$binary|" "$unit" >"$folder/handstamp.service"
said=$(systemd-analyze verify --man=no "$folder/handstamp.service" 2>&1) || fail "systemd-analyze verify: $said"
# Other units of the machine may be wrong too; only what is said about this one counts.
if grep -F handstamp.service <<<"$said"; then fail "systemd-analyze verify has something to say"; fi
# 0 is closed, 100 is open; the table says what would be next.
systemd-analyze security --offline=true --no-pager --threshold=15 "$folder/handstamp.service" >"$folder/table" ||
  fail "the unit is more open than it was: $(cat "$folder/table")"
tail -n 1 "$folder/table"
echo "systemd accepts the unit; the Dockerfile names Rust $pinned (it was read, not built)"
