# page.sh - a page of figures that is made part by part; sourced by run.sh and smb_figures.sh, which set lab_here.
#
# A part lies between `<!-- part NAME -->` and `<!-- end NAME -->`. One that is measured again takes the place of what
# was there; the others stay as they are, each with a date and commit of its own.

# page_put PAGE NAMES NAME FILE: puts FILE in as the part NAME. NAMES is the order; what is not there yet is named.
# The page begins with what page_head prints.
page_put() {
  touch "$1"
  {
    page_head
    for page_part in $2; do
      [ "$page_part" = "$3" ] || grep -q "^<!-- part $page_part -->\$" "$1" || echo "- **Not measured yet:** $page_part."
    done
    echo
    for page_part in $2; do
      if [ "$page_part" = "$3" ]; then
        printf '<!-- part %s -->\n%s\n\n<!-- end %s -->\n\n' "$3" "$(cat "$4")" "$3"
      else
        sed -n "/^<!-- part $page_part -->\$/,/^<!-- end $page_part -->\$/p" "$1" | sed '$s/$/\n/'
      fi
    done
  } >"$4.page" && cat "$4.page" >"$1"
}

# Where and when: the line below the heading of each part.
page_stamp() {
  dirty=$(git -C "$lab_here" status --porcelain -- ../../vfs ../../lib . 2>/dev/null)
  echo "$(date +%Y-%m-%d), commit $(git -C "$lab_here" rev-parse --short HEAD 2>/dev/null || echo '?')${dirty:+ and changes}," \
    "holdfast $(cat "$lab_here/../../VERSION"), SQLite $(sqlite3 --version | cut -d ' ' -f 1), load of the machine" \
    "$(cut -d ' ' -f 1 /proc/loadavg) at the end, $(getconf _NPROCESSORS_ONLN) processors"
}
