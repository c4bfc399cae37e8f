#!/bin/sh
# deps.sh - tools/deps names exactly what is missing and installs nothing when it must not.
# What is installed, who we are and apt itself are played here, so the machine is not touched.
set -u
PATH=$PWD/bin:$PATH
mkdir bin
bad=0

fake() { printf '#!/bin/sh\n%s\n' "$2" >"bin/$1" && chmod 755 "bin/$1"; }
fake apt-get 'echo "apt-get $*" >>'"$PWD"'/apt.log; exit 0'
fake id 'echo 1000'
# All packages but those in $ABSENT are there; a removed one has kept its settings.
fake dpkg-query 'for p; do :; done; case " $ABSENT " in *" $p "*) printf "config-files\n" ;; *) printf "installed\n" ;; esac'

# expect WHAT EXIT OUTPUT: runs tools/deps for the groups build and demo.
expect() {
  got=$("$HF_SOURCE/tools/deps" build demo 2>&1)
  rc=$?
  [ $rc = "$2" ] && [ "$got" = "$3" ] && return
  printf '%s: expected exit %s and\n%s\ngot exit %s and\n%s\n' "$1" "$2" "$3" $rc "$got"
  bad=1
}

command='Install them with:
  apt-get update && apt-get install --no-install-recommends'
export ABSENT HOLDFAST_DEPS
ABSENT='' HOLDFAST_DEPS=1
expect 'all there' 0 ''
ABSENT='clang valgrind'
expect 'others are missing' 0 ''
ABSENT='gcc sqlite3 clang'
expect 'not root' 1 "holdfast: missing Debian packages: gcc sqlite3
$command gcc sqlite3"
fake id 'echo 0'
HOLDFAST_DEPS=0
expect 'root, told not to' 1 "holdfast: missing Debian packages: gcc sqlite3
$command gcc sqlite3"
[ ! -e apt.log ] || { echo "apt was called: $(cat apt.log)"; bad=1; }
exit $bad
