#!/bin/bash
# apsw, the other SQLite module of Python.
# shellcheck source=lib.sh disable=SC1091,SC2154
. "$HF_SOURCE/tests/clients/lib.sh" || exit 1

/usr/bin/python3 -c 'import apsw' 2>/dev/null || skip "no apsw for /usr/bin/python3 here"
round_trip /usr/bin/python3 "$HF_SOURCE/tests/clients/programs/roundtrip.py" apsw
finish
