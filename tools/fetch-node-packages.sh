#!/bin/sh
# fetch-node-packages.sh - Node packages with a SQLite of their own inside, for tests/clients.
#
# Prints the folder whose node_modules has them as its only line. They come with their native code built,
# so no install script is run. They are kept in the cache folder; a second run downloads nothing.
# Exit status: 0, or 77 with the reason on the last line when they cannot be had here.
set -u

# SQLite 3.53.0, and 3.45.1 on a default VFS of the package's own.
packages="@photostructure/sqlite@1.2.1 libsql@0.5.29"

skip() {
  echo "$*"
  exit 77
}

cache=${HOLDFAST_CACHE:-${XDG_CACHE_HOME:-${HOME:-/var/tmp}/.cache}/holdfast}
keep=$cache/node-packages
if [ "$(cat "$keep/complete" 2>/dev/null)" != "$packages" ]; then
  command -v npm >/dev/null || skip "no npm here"
  mkdir -p "$cache" 2>/dev/null || skip "cannot write to the cache folder $cache"
  work=$(mktemp -d "$cache/node.XXXXXX") || skip "cannot write to the cache folder $cache"
  trap 'rm -rf "$work"' EXIT
  # shellcheck disable=SC2086 # a list of words
  timeout 250 npm install --silent --ignore-scripts --no-audit --no-fund --prefix "$work" $packages >&2 ||
    skip "npm could not fetch $packages"
  echo "$packages" >"$work/complete"
  rm -rf "$keep"
  mv "$work" "$keep" || skip "cannot write to the cache folder $cache"
fi
echo "$keep"
