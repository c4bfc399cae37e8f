#!/bin/bash
# Perl's DBD::SQLite.
# shellcheck source=lib.sh disable=SC1091,SC2154
. "$HF_SOURCE/tests/clients/lib.sh" || exit 1

perl=/usr/bin/perl # Debian's modules belong to Debian's Perl
$perl -MDBD::SQLite -e 1 2>/dev/null || skip "no DBD::SQLite for $perl here"
round_trip $perl "$HF_SOURCE/tests/clients/programs/roundtrip.pl"
finish
