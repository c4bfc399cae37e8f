/*
 * salvage_pages.c - pages, cells and records, read from bytes of which nothing is believed: each number is
 * compared with what can be before it is used, and no page is entered twice.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "salvage.h"

enum {
  INDEX_INTERIOR = 2,
  TABLE_INTERIOR = 5,
  INDEX_LEAF = 10,
  TABLE_LEAF = 13,
  DEPTH_MAX = 40,
  CELL_LEAST = 6, /* with its pointer */
  HEADER = 100
};

static uint32_t two(const unsigned char *p)
{
  return (uint32_t)p[0] << 8 | p[1];
}
static uint32_t four(const unsigned char *p)
{
  return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Bytes used, 0 = it does not end before `end`. */
static int varint(const unsigned char *p, const unsigned char *end, uint64_t *out)
{
  uint64_t v = 0;

  for (int i = 0; i < 9 && p + i < end; i++) {
    if (i == 8) {
      *out = v << 8 | p[8];
      return 9;
    }
    v = v << 7 | (p[i] & 0x7f);
    if (!(p[i] & 0x80)) {
      *out = v;
      return i + 1;
    }
  }
  return 0;
}

/* ---------------------------------------------------------------- the image */

static bool power_of_two(uint32_t n)
{
  return n >= 512 && n <= 65536 && (n & (n - 1)) == 0;
}

static bool looks_like_a_page(const unsigned char *p, uint32_t size)
{
  uint32_t cells = two(p + 3), content = two(p + 5) ? two(p + 5) : 65536;
  uint32_t head = p[0] == INDEX_INTERIOR || p[0] == TABLE_INTERIOR ? 12 : 8;

  if (p[0] != INDEX_INTERIOR && p[0] != TABLE_INTERIOR && p[0] != INDEX_LEAF && p[0] != TABLE_LEAF)
    return false;
  return head + 2 * cells <= size && content <= size && content >= head + 2 * cells && p[7] < 61;
}

/*
 * At multiples of the right size pages look like pages; at those of twice the size just as often, at those of
 * half the size half as often. So: the smallest that is nearly as good as the best.
 */
uint32_t hf_guess_page_size(const unsigned char *bytes, size_t size)
{
  enum { SIZES = 8, LOOK_AT = 5000 };
  double share[SIZES] = {0}, most = 0;

  for (int k = 0; k < SIZES; k++) {
    size_t page = (size_t)512 << k, pages = size / page, good = 0, looked = 0;
    for (size_t i = 1; i < pages && i < LOOK_AT; i++, looked++)
      good += looks_like_a_page(bytes + i * page, (uint32_t)page);
    if (looked) share[k] = (double)good / (double)looked;
    if (share[k] > most) most = share[k];
  }
  for (int k = 0; k < SIZES && most > 0; k++)
    if (share[k] >= most * 0.75) return (uint32_t)512 << k;
  return 0;
}

bool hf_image_open(hf_image *image, const char *path)
{
  int fd = open(path, O_RDONLY | O_CLOEXEC); /* our own copy: SQLite does not have it open */
  struct stat st;
  void *map = MAP_FAILED;

  memset(image, 0, sizeof *image);
  if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size >= 512)
    map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (fd >= 0) (void)close(fd); /* only read from */
  if (map == MAP_FAILED) return false;
  image->bytes = map;
  image->size = (size_t)st.st_size;
  image->page_size = two(image->bytes + 16) == 1 ? 65536 : two(image->bytes + 16);
  if (!power_of_two(image->page_size)) image->page_size = hf_guess_page_size(image->bytes, image->size);
  if (!image->page_size) image->page_size = 4096;
  image->usable = image->page_size - image->bytes[20];
  if (image->usable < 480) image->usable = image->page_size;
  /* Half a page at the end is not a page. */
  image->pages = (uint32_t)(image->size / image->page_size);
  image->encoding = four(image->bytes + 56) == 2   ? SQLITE_UTF16LE
                    : four(image->bytes + 56) == 3 ? SQLITE_UTF16BE
                                                   : SQLITE_UTF8;
  image->seen = calloc((size_t)image->pages + 1, 1);
  if (image->seen) return true;
  hf_image_close(image);
  return false;
}

void hf_image_close(hf_image *image)
{
  if (image->bytes) (void)munmap((void *)(uintptr_t)image->bytes, image->size);
  free(image->seen);
  memset(image, 0, sizeof *image);
}

static const unsigned char *page_of(const hf_image *image, uint32_t page)
{
  return page >= 1 && page <= image->pages ? image->bytes + (size_t)(page - 1) * image->page_size : NULL;
}

void hf_mark_free(hf_image *image)
{
  uint32_t trunk = four(image->bytes + 32);
  const unsigned char *p;

  while ((p = page_of(image, trunk)) != NULL && !image->seen[trunk]) {
    uint32_t leaves = four(p + 4);
    image->seen[trunk] = HF_SEEN_FREE;
    for (uint32_t i = 0; i < leaves && i < image->usable / 4 - 2; i++) {
      uint32_t leaf = four(p + 8 + 4 * (size_t)i);
      if (leaf >= 1 && leaf <= image->pages && !image->seen[leaf]) image->seen[leaf] = HF_SEEN_FREE;
    }
    trunk = four(p);
  }
}

bool hf_is_table_leaf(const hf_image *image, uint32_t page)
{
  const unsigned char *p = page_of(image, page);

  return p && p[0] == TABLE_LEAF && looks_like_a_page(p, image->page_size) && two(p + 3) > 0;
}

/* ---------------------------------------------------------------- cells */

/* How much of a payload lies in the cell itself. */
static size_t local_size(const hf_image *image, size_t payload, bool index)
{
  size_t u = image->usable, least = (u - 12) * 32 / 255 - 23;
  size_t most = index ? (u - 12) * 64 / 255 - 23 : u - 35, rest;

  if (payload <= most) return payload;
  rest = least + (payload - least) % (u - 4);
  return rest <= most ? rest : least;
}

/* Puts a spread payload together in memory of malloc(); NULL when a page of it is not there. */
static unsigned char *gather(hf_image *image, const unsigned char *local, size_t in_cell, size_t size,
                             uint32_t next)
{
  unsigned char *whole;
  const unsigned char *p;

  if (size > image->size) return NULL; /* no row is larger than the file */
  whole = malloc(size);
  if (!whole) return NULL;
  memcpy(whole, local, in_cell);
  for (size_t at = in_cell; at < size;) {
    size_t part = size - at < image->usable - 4 ? size - at : image->usable - 4;
    p = page_of(image, next);
    if (!p || image->seen[next] == HF_SEEN_TREE) {
      free(whole);
      return NULL;
    }
    image->seen[next] = HF_SEEN_OVERFLOW;
    memcpy(whole + at, p + 4, part);
    at += part;
    next = four(p);
  }
  return whole;
}

/* One cell of a leaf, or of an interior page of an index. */
static bool read_cell(hf_walk *walk, uint32_t page, const unsigned char *cell, const unsigned char *end,
                      bool index)
{
  hf_image *image = walk->image;
  hf_cell_row row = {.page = page};
  uint64_t size, rowid = 0;
  unsigned char *whole = NULL;
  size_t local;
  int n = varint(cell, end, &size);

  if (!n) return false;
  cell += n;
  if (!index) {
    n = varint(cell, end, &rowid);
    if (!n) return false;
    cell += n;
  }
  if (size > image->size) return false;
  local = local_size(image, (size_t)size, index);
  if (local > (size_t)(end - cell)) return false;
  row.rowid = (int64_t)rowid;
  row.size = (size_t)size;
  row.payload = cell;
  if (local < size) {
    if ((size_t)(end - cell) < local + 4) return false;
    whole = gather(image, cell, local, (size_t)size, four(cell + local));
    if (!whole) return false;
    row.payload = whole;
  }
  if (!walk->row(walk->arg, &row)) walk->stopped = true;
  free(whole);
  return true;
}

/* ---------------------------------------------------------------- trees */

static void add_gap(hf_walk *walk, int64_t low, int64_t high)
{
  walk->pages_lost++;
  if (!walk->gaps || *walk->gap_count >= HF_GAPS) return;
  walk->gaps[(*walk->gap_count)++] = (hf_gap){walk->owner, low, high};
}

/*
 * Pointers to cells end where the cells begin. Where the page claims more cells than can be on one, nobody
 * knows how many there were: what can be read is taken, and the page counts as lost instead of its cells as
 * broken.
 */
static void leaf(hf_walk *walk, uint32_t page, const unsigned char *p, uint32_t head, bool index)
{
  const unsigned char *start = p - (page == 1 ? HEADER : 0), *end = start + walk->image->usable;
  uint32_t cells = two(p + 3), first = walk->image->usable;
  bool possible = cells <= (walk->image->usable - 8) / CELL_LEAST;

  walk->pages_lost += !possible;
  for (uint32_t i = 0; i < cells && !walk->stopped; i++) {
    const unsigned char *pointer = p + head + 2 * (size_t)i;
    uint32_t at = pointer + 2 <= end ? two(pointer) : 0;
    if (!possible && pointer + 2 > start + first) break;
    if (at >= head && at < walk->image->usable &&
        read_cell(walk, page, start + at + (head == 12 ? 4 : 0), end, index))
      first = at < first ? at : first;
    else
      walk->broken += possible;
  }
}

static void walk_page(hf_walk *walk, uint32_t page, bool index, int depth, int64_t low, int64_t high);

static void interior(hf_walk *walk, uint32_t page, const unsigned char *p, bool index, int depth, int64_t low,
                     int64_t high)
{
  const unsigned char *start = p - (page == 1 ? HEADER : 0), *end = start + walk->image->usable;
  uint32_t cells = two(p + 3);

  for (uint32_t i = 0; i < cells && !walk->stopped; i++) {
    const unsigned char *pointer = p + 12 + 2 * (size_t)i, *cell;
    uint32_t at = pointer + 2 <= end ? two(pointer) : 0;
    uint64_t key = (uint64_t)high;
    if (at < 12 || at + 5 > walk->image->usable) {
      add_gap(walk, low, high);
      continue;
    }
    cell = start + at;
    if (!index && !varint(cell + 4, end, &key)) key = (uint64_t)high;
    walk_page(walk, four(cell), index, depth + 1, low, (int64_t)key);
    if (!index) low = (int64_t)key;
  }
  walk_page(walk, four(p + 8), index, depth + 1, low, high);
  if (index) leaf(walk, page, p, 12, true); /* an index keeps entries in its interior pages, too */
}

static void walk_page(hf_walk *walk, uint32_t page, bool index, int depth, int64_t low, int64_t high)
{
  const unsigned char *p = page_of(walk->image, page);
  int want_leaf = index ? INDEX_LEAF : TABLE_LEAF, want_interior = index ? INDEX_INTERIOR : TABLE_INTERIOR;

  if (p && page == 1) p += HEADER;
  if (!p || depth > DEPTH_MAX || walk->image->seen[page] == HF_SEEN_TREE ||
      (p[0] != want_leaf && p[0] != want_interior)) {
    add_gap(walk, low, high);
    return;
  }
  walk->image->seen[page] = HF_SEEN_TREE;
  if (p[0] == want_leaf)
    leaf(walk, page, p, 8, index);
  else
    interior(walk, page, p, index, depth, low, high);
}

void hf_walk_tree(hf_walk *walk, uint32_t root, bool index)
{
  walk_page(walk, root, index, 0, INT64_MIN, INT64_MAX);
}

void hf_walk_leaf(hf_walk *walk, uint32_t page)
{
  walk->image->seen[page] = HF_SEEN_TREE;
  leaf(walk, page, page_of(walk->image, page), 8, false);
}

/* ---------------------------------------------------------------- records */

static int64_t integer_of(const unsigned char *p, int bytes)
{
  uint64_t v = p[0] & 0x80 ? ~(uint64_t)0 : 0;

  for (int i = 0; i < bytes; i++) v = v << 8 | p[i];
  return (int64_t)v;
}

static bool read_field(uint64_t serial, const unsigned char **body, const unsigned char *end, hf_field *out)
{
  static const int sizes[] = {0, 1, 2, 3, 4, 6, 8, 8, 0, 0};
  size_t size = serial >= 12 ? (size_t)((serial - 12) / 2) : serial < 10 ? (size_t)sizes[serial] : SIZE_MAX;

  if (size > (size_t)(end - *body)) return false; /* 10 and 11 do not exist */
  *out = (hf_field){.type = SQLITE_NULL, .bytes = *body, .size = size};
  if (serial >= 12) {
    out->type = serial & 1 ? SQLITE_TEXT : SQLITE_BLOB;
  } else if (serial == 7) {
    uint64_t bits = (uint64_t)integer_of(*body, 8);
    out->type = SQLITE_FLOAT;
    memcpy(&out->real, &bits, sizeof bits);
  } else if (serial >= 1) {
    out->type = SQLITE_INTEGER;
    out->integer = serial >= 8 ? (int64_t)serial - 8 : integer_of(*body, (int)size);
  }
  *body += size;
  return true;
}

int hf_record_read(const unsigned char *payload, size_t size, hf_field *fields)
{
  const unsigned char *end = payload + size, *at = payload, *body, *head_end;
  uint64_t head, serial;
  int n = varint(at, end, &head), count = 0;

  if (!n || head < (uint64_t)n || head > size) return -1;
  head_end = payload + head;
  body = head_end;
  at += n;
  while (at < head_end && count < HF_FIELDS) {
    n = varint(at, head_end, &serial);
    if (!n || !read_field(serial, &body, end, &fields[count])) return -1;
    at += n;
    count++;
  }
  return count;
}
