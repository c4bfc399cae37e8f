#!/bin/sh
# fetch-sqlite-source.sh - Debian's source package of SQLite, for the test programs in it.
#
# Prints the folder of the unpacked source as its only line. It is kept in the cache folder, so
# the second run downloads nothing. The machine's own apt lists stay as they are: the deb-src
# lines live in a folder of their own. SQLITE_SOURCE=DIR uses a tree that is there already.
# Exit status: 0, or 77 with the reason on the last line when the source cannot be had here.
set -u

skip() {
  echo "$*"
  exit 77
}

if [ -n "${SQLITE_SOURCE:-}" ]; then
  [ -f "$SQLITE_SOURCE/mptest/mptest.c" ] || skip "SQLITE_SOURCE=$SQLITE_SOURCE has no full SQLite source"
  (cd "$SQLITE_SOURCE" && pwd)
  exit 0
fi

cache=${HOLDFAST_CACHE:-${XDG_CACHE_HOME:-${HOME:-/var/tmp}/.cache}/holdfast}
release=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release 2>/dev/null)
keep=$cache/sqlite-source-${release:-unknown}
if [ -f "$keep/complete" ]; then
  find "$keep" -mindepth 1 -maxdepth 1 -type d -name 'sqlite3-*'
  exit 0
fi

for need in apt-get dpkg-source; do
  command -v $need >/dev/null || skip "no $need here: SQLite's source package needs Debian's apt and dpkg-dev"
done
mkdir -p "$cache" || skip "cannot write to the cache folder $cache"
work=$(mktemp -d "$cache/sqlite-source.XXXXXX") || skip "cannot write to the cache folder $cache"
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/sources" "$work/lists/partial" "$work/archives/partial" "$work/tree"

# The same mirrors as the machine's, asked for sources instead of binaries.
for f in /etc/apt/sources.list.d/*.sources; do
  [ -f "$f" ] && sed 's/^Types:.*/Types: deb-src/' "$f" >"$work/sources/$(basename "$f")"
done
for f in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
  [ -f "$f" ] && sed -n 's/^deb /deb-src /p' "$f" >"$work/sources/$(basename "$f" .list).list"
done

own_apt() {
  timeout 300 apt-get -q -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$work/sources" \
    -o Dir::State::lists="$work/lists" -o Dir::Cache="$work" -o Dir::Cache::archives="$work/archives" \
    -o APT::Sandbox::User="$(id -un)" -o Acquire::Retries=2 "$@"
}
# A mirror of somebody else's may have no sources: only the second command decides.
own_apt update >"$work/log" 2>&1
(cd "$work/tree" && own_apt source sqlite3) >>"$work/log" 2>&1 || {
  tail -5 "$work/log" >&2
  skip "apt-get could not fetch the source package sqlite3 (no network, or no deb-src on the mirror)"
}
found=$(find "$work/tree" -mindepth 1 -maxdepth 1 -type d -name 'sqlite3-*')
[ -f "$found/mptest/mptest.c" ] || skip "the source package sqlite3 has no mptest/mptest.c"
rm -f "$work"/tree/*.tar.* "$work"/tree/*.dsc
touch "$work/tree/complete"
rm -rf "$keep"
mv "$work/tree" "$keep"
find "$keep" -mindepth 1 -maxdepth 1 -type d -name 'sqlite3-*'
