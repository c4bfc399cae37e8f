#!/bin/bash
# PHP: class SQLite3 and PDO. PHP unmaps SQLite before destructors run, so a late call would crash here.
# shellcheck source=lib.sh disable=SC1091,SC2154
. "$HF_SOURCE/tests/clients/lib.sh" || exit 1

need php
php -r 'exit(class_exists("SQLite3") && in_array("sqlite", PDO::getAvailableDrivers()) ? 0 : 1);' ||
  skip "PHP here has no SQLite3 and PDO"
for kind in sqlite3 pdo; do
  round_trip php -d sqlite3.extension_dir="$HF_BUILD" "$HF_SOURCE/tests/clients/programs/roundtrip.php" $kind
done
finish
