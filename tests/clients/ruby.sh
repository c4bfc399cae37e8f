#!/bin/bash
# Ruby's gem sqlite3.
# shellcheck source=lib.sh disable=SC1091,SC2154
. "$HF_SOURCE/tests/clients/lib.sh" || exit 1

ruby=/usr/bin/ruby # Debian's gems belong to Debian's Ruby
$ruby -e 'require "sqlite3"' 2>/dev/null || skip "no gem sqlite3 for $ruby here"
round_trip $ruby "$HF_SOURCE/tests/clients/programs/roundtrip.rb"
finish
