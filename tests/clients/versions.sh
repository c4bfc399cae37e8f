#!/bin/bash
# A C program with several SQLite versions, each alone and all in one process, which all load the
# same holdfast.so: host/host.c and host/session.c say what is checked. The control is a shim as textbooks write it.
# shellcheck source=lib.sh disable=SC1091,SC2154
. "$HF_SOURCE/tests/clients/lib.sh" || exit 1

cc=${CC:-cc}
need "$cc"
need sqlite3
list=$("$HF_SOURCE/tools/fetch-amalgamations.sh") || skip "$(tail -n 1 <<<"$list")"
mapfile -t libraries < <(cut -d ' ' -f 2- <<<"$list")
export HOLDFAST_ASSUME=local # the default below; the working directory may be on anything
echo "SQLite $(cut -d ' ' -f 1 <<<"$list" | tr '\n' ' ')"

top=$PWD
here=$HF_SOURCE/tests/clients/host
build() {
  # valgrind of Debian 12 cannot read the debug information that clang writes by default.
  $cc -D_GNU_SOURCE -std=c11 -O1 -g -gdwarf-4 -Wall -Wextra -o host "$here"/{host,session,lib}.c -ldl -lpthread &&
    $cc -std=c11 -O1 -Wall -Wextra -fPIC -shared -o naive.so "$here/naive.c"
}
build || { fail "the host does not compile"; finish; }

# host MODE...: in a folder of its own, its output shown when it fails.
host() {
  local rc
  rm -rf "$top/work" && mkdir "$top/work" && cd "$top/work" || exit 1
  timeout 120 "${under[@]}" "$top/host" "$@" >"$top/out" 2>&1
  rc=$?
  cd "$top" || exit 1
  return $rc
}
under=()
passes() {
  local what=$1
  shift
  if host "$@"; then
    echo "$what: $(tail -n 1 out)"
  else
    fail "$what: $(grep -v 'holdfast: warned' out | head -n 30)"
  fi
}

passes "a textbook shim, one library" route "$top/naive.so" "${libraries[0]}"
if host route "$top/naive.so" "${libraries[@]:0:2}"; then
  fail "the control: a textbook shim in two libraries was not noticed"
fi

for library in "${libraries[@]}"; do
  passes "$(basename "$library" .so) alone" session "$extension" "$library"
  HOLDFAST_ASSUME=network passes "$(basename "$library" .so) alone, network" session "$extension" "$library"
done
passes "all in one process" session "$extension" "${libraries[@]}"
HOLDFAST_ASSUME=network passes "all in one process, network" session "$extension" "${libraries[@]}"
passes "shutdown, unload and reload" reload "$extension" "${libraries[@]}"
passes "by sqlite3_auto_extension" auto "$extension" "${libraries[@]}"
for base in unix under unix-excl unix-dotfile; do
  for library in "${libraries[0]}" "${libraries[-1]}"; do
    passes "$(basename "$library" .so) on $base" stack "$extension" "$library" $base
    HOLDFAST_ASSUME=network passes "$(basename "$library" .so) on $base, network" stack "$extension" "$library" $base
  done
done

if command -v valgrind >/dev/null; then
  under=(valgrind --quiet --leak-check=full --error-exitcode=99)
  passes "two libraries under memcheck" session "$extension" "${libraries[-2]}" "${libraries[-1]}"
else
  echo "no valgrind here: the session under memcheck is left out"
fi
finish
