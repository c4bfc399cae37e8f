#!/bin/bash
# GDAL's ogr2ogr, which loads extensions named in OGR_SQLITE_LOAD_EXTENSIONS into every database it opens; so
# the second one and later ones are covered. Coordinates are transformed, because PROJ then opens a database
# of its own through a VFS that it builds from the default one: with structures of another size it crashes at
# exit, and it calls the default VFS's methods with its own structure.
# shellcheck source=lib.sh disable=SC1091,SC2154
. "$HF_SOURCE/tests/clients/lib.sh" || exit 1

need ogr2ogr
need sqlite3
ogr2ogr --formats | grep -q '^  SQLite ' || skip "ogr2ogr here has no SQLite driver"

printf 'name,x,y\na,1,2\nb,3,4\n' >in.csv
ogr2ogr -q -f SQLite a.db in.csv -oo X_POSSIBLE_NAMES=x -oo Y_POSSIBLE_NAMES=y -a_srs EPSG:4326 || skip "ogr2ogr cannot make a SQLite file"

# copy ASSUME EXTENSION: a.db, its coordinates transformed, into ASSUME.db, for which WAL is asked.
copy() {
  HOLDFAST_ASSUME=$1 OGR_SQLITE_LOAD_EXTENSIONS=$2 OGR_SQLITE_JOURNAL=WAL timeout 60 \
    ogr2ogr -q -f SQLite "$1.db" a.db -t_srs EPSG:3857 || fail "ogr2ogr into $1.db ended with $?"
  sqlite3 "$1.db" 'PRAGMA integrity_check; PRAGMA journal_mode; SELECT count(*) FROM "in"' | tr '\n' ' '
}
same "without the shim" "$(copy nothing '')" "ok wal 2 "
same "local" "$(copy local "$extension")" "ok wal 2 "
same "network" "$(copy network "$extension")" "ok delete 2 "

# One process, two databases: the second answers the PRAGMA, which has no row without the shim.
# ask DATABASE
ask() {
  cat >two.vrt <<VRT
<OGRVRTDataSource>
<OGRVRTLayer name="one"><SrcDataSource>a.db</SrcDataSource><SrcLayer>in</SrcLayer></OGRVRTLayer>
<OGRVRTLayer name="two"><SrcDataSource>$1</SrcDataSource><SrcSQL>PRAGMA holdfast</SrcSQL></OGRVRTLayer>
</OGRVRTDataSource>
VRT
  timeout 60 ogrinfo -ro -al two.vrt 2>/dev/null | sed -n 's/.*(String) = \(holdfast .*\)/\1/p'
}
same "PRAGMA holdfast without the shim" "$(ask local.db)" ""
export OGR_SQLITE_LOAD_EXTENSIONS=$extension
same "PRAGMA holdfast, local" "$(HOLDFAST_ASSUME=local ask local.db)" "holdfast * wal-ok local *"
same "PRAGMA holdfast, network" "$(HOLDFAST_ASSUME=network ask network.db)" "holdfast * rollback-only network *"
# Opened read-only, a WAL database is refused there and left as it is, not converted.
before=$(cksum <local.db)
same "PRAGMA holdfast, network, WAL database" "$(HOLDFAST_ASSUME=network ask local.db)" ""
same "the WAL database afterwards" "$(cksum <local.db)" "$before"
finish
