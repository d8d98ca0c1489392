# Sourced by scripts/*: one line per step, errors that say what to do, and packages
# that are installed only when they are missing.
# shellcheck shell=bash

set -euo pipefail

# Every script runs in the root of the repository.
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# Where cargo builds; the scripts' own tools and environments go there too.
# shellcheck disable=SC2034  # used by the scripts that source this
target_dir=${CARGO_TARGET_DIR:-target}

# The binary that a cargo profile builds; cargo keeps those of dev in a folder of another name.
binary_of() { printf '%s/%s/rscore\n' "$target_dir" "${1/#dev/debug}"; }

say() { printf '%s\n' "$*"; }

die() {
  printf '%s: %s\n' "$(basename "$0")" "$*" >&2
  exit 1
}

# Runs a command as root: directly, or by sudo.
as_root() {
  if [[ $(id -u) -eq 0 ]]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    die "this needs root or sudo: $*"
  fi
}

# Runs a command silently; on failure shows the end of what it said, and returns 1.
quietly() {
  local log
  log=$(mktemp)
  if "$@" >"$log" 2>&1 </dev/null; then
    rm -f "$log"
    return 0
  fi
  tail -n 30 "$log" >&2
  rm -f "$log"
  return 1
}

# Prints those of the given Debian packages that are not installed, one per line.
missing_packages() {
  local package
  for package in "$@"; do
    # shellcheck disable=SC2016  # the variable is dpkg-query's
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || printf '%s\n' "$package"
  done
}

# Installs the given Debian packages unless all are there.
install_packages() {
  local missing
  mapfile -t missing < <(missing_packages "$@")
  [[ ${#missing[@]} -gt 0 ]] || return 0
  say "installing ${missing[*]}"
  quietly as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq ||
    die "apt-get update failed (see above); install by hand: ${missing[*]}"
  quietly as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" ||
    die "apt-get could not install: ${missing[*]} (see above)"
}
