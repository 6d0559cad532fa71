# What ./run and ./test need before the first line compiles. To be sourced; on a machine that lacks
# something, one line says what to install.
# shellcheck shell=bash

# rustup puts cargo here; a shell that was open before does not know it yet.
if [[ -d ${CARGO_HOME:-$HOME/.cargo}/bin ]]; then PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"; fi

require_rust() {
  local here minor
  here=$(dirname "${BASH_SOURCE[0]}")
  if ! command -v cargo >/dev/null; then
    echo "Rust is missing: install it with rustup (https://rustup.rs: curl https://sh.rustup.rs -sSf | sh), then run this again." >&2
    exit 1
  fi
  minor=$(cd "$here" && cargo --version 2>/dev/null | sed -nE 's/^cargo 1\.([0-9]+)\..*/\1/p')
  if [[ -z $minor ]]; then
    # rustup prints its own reason, such as a pinned toolchain that it may not download.
    (cd "$here" && cargo --version) >&2 || true
    echo "Rust does not answer: 'cargo --version' failed in this folder, see above." >&2
    exit 1
  elif ((minor < 95)); then
    echo "Rust 1.95 or newer is needed and this is 1.$minor: install it with rustup (https://rustup.rs: curl https://sh.rustup.rs -sSf | sh), then run this again." >&2
    exit 1
  fi
}

# SQLite and the cryptography are compiled from C; CMake is not needed on the platforms we know.
require_c_compiler() {
  local CC=${CC:-cc}
  if ! command -v "${CC%% *}" >/dev/null; then
    echo "A C compiler is missing: apt-get install gcc libc6-dev (or build-essential), then run this again." >&2
    exit 1
  fi
}

# Where cargo puts what it builds, also when CARGO_TARGET_DIR moves it.
target_dir() {
  case ${CARGO_TARGET_DIR:-} in
    "") echo "$1/target" ;;
    /*) echo "$CARGO_TARGET_DIR" ;;
    *) echo "$1/$CARGO_TARGET_DIR" ;;
  esac
}
