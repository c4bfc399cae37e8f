#!/bin/bash
# Tcl's package sqlite3.
# shellcheck source=lib.sh disable=SC1091,SC2154
. "$HF_SOURCE/tests/clients/lib.sh" || exit 1

need tclsh
# tclsh ends with 0 after an error in a script that it reads from a pipe, so the line is looked at.
[ -n "$(echo 'puts [package require sqlite3]' | tclsh 2>/dev/null)" ] || skip "no package sqlite3 for tclsh here"
round_trip tclsh "$HF_SOURCE/tests/clients/programs/roundtrip.tcl"
finish
