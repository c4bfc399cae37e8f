#!/bin/sh
# fetch-amalgamations.sh - SQLite in several versions, each a shared library, for tests/clients.
#
# Prints one line for each: VERSION PATH. Old amalgamations are to be had in the packages of
# better-sqlite3, which npm fetches; they are compiled once and kept in the cache folder, so the second
# run needs neither network nor compiler. Nothing of the packages is run.
# Exit status: 0, or 77 with the reason on the last line when they cannot be had here.
set -u

# SQLite's version and the package version that holds it.
versions="3.15.0=1.4.0 3.31.1=7.0.0 3.40.0=8.0.0 3.45.1=9.4.0 3.51.1=12.5.0 3.54.1=13.2.0"

skip() {
  echo "$*"
  exit 77
}

cache=${HOLDFAST_CACHE:-${XDG_CACHE_HOME:-${HOME:-/var/tmp}/.cache}/holdfast}/sqlite-versions
mkdir -p "$cache" 2>/dev/null || skip "cannot write to the cache folder $cache"
work=$(mktemp -d "$cache/new.XXXXXX") || skip "cannot write to the cache folder $cache"
trap 'rm -rf "$work"' EXIT

# fetch VERSION PACKAGE: leaves sqlite3.c in $work/VERSION.
fetch() {
  mkdir -p "$work/$1/unpacked" || return
  (
    cd "$work/$1" && timeout 120 npm pack --silent "better-sqlite3@$2" >/dev/null 2>"$work/npm.log" &&
      tar -xzf better-sqlite3-*.tgz -C unpacked || exit 1
    # Older packages have the amalgamation in an archive of its own.
    for inner in unpacked/package/deps/*.tar.gz; do
      [ -f "$inner" ] && tar -xzf "$inner" -C unpacked
    done
    source=$(find unpacked -name sqlite3.c | head -n 1)
    [ -n "$source" ] && mv "$source" sqlite3.c && grep -qF "#define SQLITE_VERSION        \"$1\"" sqlite3.c
  )
}

build() {
  ${CC:-cc} -O1 -w -fPIC -shared -Wl,-Bsymbolic -DSQLITE_THREADSAFE=1 -o "$work/$1.so" \
    "$work/$1/sqlite3.c" -lpthread -ldl -lm && mv "$work/$1.so" "$cache/sqlite-$1.so"
}

running=0
for pair in $versions; do
  version=${pair%=*}
  [ -f "$cache/sqlite-$version.so" ] && continue
  command -v npm >/dev/null || skip "no npm here: it fetches the amalgamations of older SQLite versions"
  command -v "${CC:-cc}" >/dev/null || skip "no C compiler here"
  fetch "$version" "${pair#*=}" || {
    tail -n 3 "$work/npm.log" >&2
    skip "npm could not fetch better-sqlite3@${pair#*=}, which holds SQLite $version"
  }
  build "$version" &
  # Two at a time: each takes a processor for some seconds.
  running=$((running + 1))
  [ $((running % 2)) = 0 ] && wait
done
wait

for pair in $versions; do
  version=${pair%=*}
  [ -f "$cache/sqlite-$version.so" ] || skip "SQLite $version did not compile"
  echo "$version $cache/sqlite-$version.so"
done
