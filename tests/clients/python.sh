#!/bin/bash
# Debian's Python and its sqlite3 module.
# shellcheck source=lib.sh disable=SC1091,SC2154
. "$HF_SOURCE/tests/clients/lib.sh" || exit 1

python=/usr/bin/python3 # not a Python of the user's own: those are often built without load_extension
need $python
round_trip $python "$HF_SOURCE/tests/clients/programs/roundtrip.py" sqlite3
finish
