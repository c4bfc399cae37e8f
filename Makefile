# Makefile - builds holdfast under build/ and nothing anywhere else.
#
# `make help` lists the targets. V=1 shows the commands, BUILD=dir builds elsewhere, WERROR=1 makes
# warnings errors. CC, CFLAGS, CPPFLAGS and LDFLAGS are the user's: what the project itself needs is
# kept in its own variables and put in front of them. Sources are found by wildcard; a file named
# *_linux.c is for Linux, *_other.c for every other system.

VERSION := $(shell cat VERSION)
MAJOR   := $(firstword $(subst ., ,$(VERSION)))
OS      := $(shell uname -s)

BUILD  ?= build
PREFIX ?= /usr/local
bindir ?= $(PREFIX)/bin
libdir ?= $(PREFIX)/lib
incdir ?= $(PREFIX)/include
mandir ?= $(PREFIX)/share/man

AR      ?= ar
INSTALL ?= install
CFLAGS  ?= -O2 -g

Q := $(if $(V),,@)
say = $(if $(V)$(findstring s,$(firstword -$(MAKEFLAGS))),,@printf '  %-5s %s\n' '$(1)' '$(2)')

hf_cppflags := -D_GNU_SOURCE= -Iinclude
hf_cflags   := -std=c11 -fPIC -fno-plt -fvisibility=hidden -Wall -Wextra -Wshadow -Wstrict-prototypes \
               -Wmissing-prototypes $(if $(WERROR),-Werror)
compile      = $(CC) $(hf_cppflags) $(hf_includes) $(CPPFLAGS) $(hf_cflags) $(CFLAGS)
link         = $(CC) $(CFLAGS) $(LDFLAGS)
sqlite_libs := -lsqlite3 -lpthread

# ---------------------------------------------------------------- what is built from what

other_system := $(if $(filter Linux,$(OS)),%_other.c,%_linux.c)
sources = $(filter-out $(other_system),$(sort $(wildcard $(1))))
objects = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
programs = $(patsubst tests/%.c,$(BUILD)/tests/%,$(1))

vfs_sources     := $(call sources,vfs/*.c)
cli_sources     := $(call sources,cli/*.c)
preload_sources := $(if $(filter Linux,$(OS)),$(call sources,preload/*.c))
support_sources := $(call sources,tests/support/*.c)
unit_sources    := $(call sources,tests/unit/test_*.c)
scene_sources   := $(call sources,tests/proc/*.c tests/fault/*.c tests/memcheck/*.c tests/fuzz/*.c)
bench_sources   := $(call sources,bench/*.c)

linked_only := vfs/linked.c vfs/health_linked.c vfs/health_evidence.c
ext_objects := $(call objects,$(filter-out $(linked_only),$(vfs_sources)))
lib_objects := $(call objects,$(filter-out vfs/ext.c,$(vfs_sources)) $(call sources,lib/*.c))

soname  := libholdfast.so.$(MAJOR)
ext     := $(BUILD)/holdfast.so
archive := $(BUILD)/libholdfast.a
shared  := $(BUILD)/libholdfast.so.$(VERSION)
tool    := $(if $(cli_sources),$(BUILD)/holdfast)
preload := $(if $(preload_sources),$(BUILD)/holdfast-preload.so)
support := $(BUILD)/tests/libsupport.a

unit_programs  := $(call programs,$(unit_sources))
scene_programs := $(call programs,$(scene_sources))
bench_programs := $(patsubst %.c,$(BUILD)/%,$(bench_sources))

.PHONY: all tests benches check demo demo-programs lab lint bench long memcheck install uninstall clean help FORCE
.DELETE_ON_ERROR:
.SECONDARY:

all: $(ext) $(archive) $(BUILD)/libholdfast.so $(tool) $(preload)
tests: all $(unit_programs) $(scene_programs)
benches: all $(bench_programs)

# ---------------------------------------------------------------- the products

# The extension needs libc only: it calls SQLite through the table that the loading library hands it.
$(ext): $(ext_objects) packaging/extension.map
	$(call say,LINK,$@)
	$(Q)$(link) -shared -Wl,-z,defs -Wl,--version-script=packaging/extension.map -o $@ $(ext_objects)

# The same shim, and what finds a SQLite in a program that was never changed. Loaded into every child, so it
# needs libc only, too.
$(BUILD)/holdfast-preload.so: $(call objects,$(preload_sources)) $(ext_objects) packaging/preload.map
	$(call say,LINK,$@)
	$(Q)$(link) -shared -Wl,-z,defs -Wl,--version-script=packaging/preload.map -o $@ $(filter %.o,$^) -ldl -lpthread

$(archive): $(lib_objects)
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $(lib_objects)

# Never unloaded: SQLite may call the VFS at any time, the pool has a thread and functions for fork and exit.
$(shared): $(lib_objects)
	$(call say,LINK,$@)
	$(Q)$(link) -shared -Wl,-z,defs -Wl,-z,nodelete -Wl,-soname,$(soname) -o $@ $(lib_objects) $(sqlite_libs)

$(BUILD)/libholdfast.so: $(shared)
	$(Q)ln -sf $(notdir $(shared)) $(BUILD)/$(soname) && ln -sf $(soname) $@

$(BUILD)/holdfast: $(call objects,$(cli_sources)) $(archive)
	$(call say,LINK,$@)
	$(Q)$(link) -o $@ $^ $(sqlite_libs)

# ---------------------------------------------------------------- tests and benches

$(support): $(call objects,$(support_sources))
	$(Q)mkdir -p $(@D) && rm -f $@ && $(AR) rcs $@ $^

$(unit_programs): $(BUILD)/tests/%: $(BUILD)/obj/tests/%.o $(support) $(archive)
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D) && $(link) -o $@ $^ -lcmocka $(sqlite_libs)

$(scene_programs): $(BUILD)/tests/%: $(BUILD)/obj/tests/%.o $(support) $(archive)
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D) && $(link) -o $@ $^ $(sqlite_libs) -ldl

$(bench_programs): $(BUILD)/bench/%: $(BUILD)/obj/bench/%.o $(support) $(archive)
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D) && $(link) -o $@ $^ $(sqlite_libs) -ldl -lm

# ---------------------------------------------------------------- objects

# Include arrows (make lint checks the sources too): a unit test or a bench may see the header of its subject.
$(BUILD)/obj/tests/%.o: hf_includes = -Itests/support
$(BUILD)/obj/tests/unit/%.o: hf_includes = -Itests/support -Ivfs -Ilib -Icli
$(BUILD)/obj/tests/fuzz/%.o: hf_includes = -Ivfs
$(BUILD)/obj/bench/%.o: hf_includes = -Itests/support -Ivfs

$(BUILD)/obj/%.o: %.c $(BUILD)/flags
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D) && $(compile) -MMD -MP -c -o $@ $<

# Rewritten only when the compiler or its flags have changed, and then everything is compiled again.
flags_now = $(CC) $(hf_cppflags) $(CPPFLAGS) $(hf_cflags) $(CFLAGS) $(LDFLAGS)
$(BUILD)/flags: FORCE
	@mkdir -p $(BUILD) && printf '%s\n' '$(subst ','\'',$(flags_now))' >$@.new && \
	 if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

-include $(patsubst %.o,%.d,$(call objects,$(vfs_sources) $(call sources,lib/*.c) $(cli_sources) $(preload_sources) \
          $(support_sources) $(unit_sources) $(scene_sources) $(bench_sources)))

# ---------------------------------------------------------------- checks
# Each of these works on a machine that has only git and make: tools/deps comes first, and the build
# is a second make, because the compiler may be one of the things that were just installed.

CHECK ?= unit,proc,fault,fuzz,clients,suite,memcheck
comma  := ,
parts  := $(subst $(comma), ,$(CHECK))
groups := $(sort $(foreach part,$(parts),$(firstword $(subst /, ,$(part)))))
wanted  = $(addprefix $(BUILD)/tests/,$(addsuffix /%,$(groups) $(if $(filter memcheck,$(groups)),unit)))
build  = $(MAKE) --no-print-directory $(if $(filter -j%,$(MAKEFLAGS)),,-j2)
test_env = HF_BUILD='$(abspath $(BUILD))' HF_SOURCE='$(CURDIR)'

check:
	$(Q)tools/deps build $(groups)
	+$(Q)$(build) all $(filter $(wanted),$(unit_programs) $(scene_programs))
	$(Q)$(test_env) tests/run $(parts)

memcheck:
	$(Q)$(MAKE) --no-print-directory check CHECK=memcheck

demo:
	$(Q)tools/deps build $(if $(LAB),lab)
	+$(Q)$(build) $(if $(V),,-s) all
	$(Q)$(test_env) $(if $(LAB),tests/lab/demo.sh,$(BUILD)/holdfast demo $(if $(DIR),--dir '$(DIR)'))

demo-programs:
	$(Q)tools/deps build demo
	+$(Q)$(build) $(if $(V),,-s) all
	$(Q)$(test_env) tools/demo-programs.sh $(if $(DIR),'$(DIR)')

lab:
	$(Q)tools/deps build lab
	+$(Q)$(build) all
	$(Q)$(test_env) tests/lab/run.sh

lint:
	$(Q)tools/deps build unit lint
	$(Q)$(test_env) tools/lint

bench:
	$(Q)tools/deps build bench
	+$(Q)$(build) benches $(BUILD)/tests/proc/f12_wal_growth
	$(Q)$(test_env) bench/run.sh
	$(Q)$(test_env) bench/run-pool.sh

long:
	$(Q)HF_LONG=1 $(MAKE) --no-print-directory check
	$(Q)HF_LONG=1 $(MAKE) --no-print-directory lab
	$(Q)$(test_env) tests/lab/smb_figures.sh

# ---------------------------------------------------------------- installation

headers := include/holdfast.h
pages   := $(wildcard docs/man/*.1)

$(BUILD)/holdfast.pc: packaging/holdfast.pc.in VERSION FORCE
	@mkdir -p $(@D) && sed -e 's|@VERSION@|$(VERSION)|' -e 's|@PREFIX@|$(PREFIX)|' -e 's|@libdir@|$(libdir)|' \
	  -e 's|@includedir@|$(incdir)|' packaging/holdfast.pc.in >$@

install: all $(BUILD)/holdfast.pc
	$(Q)$(INSTALL) -d $(addprefix $(DESTDIR),$(bindir) $(libdir)/holdfast $(libdir)/pkgconfig $(incdir) $(mandir)/man1)
	$(Q)$(INSTALL) -m 755 $(tool) $(DESTDIR)$(bindir)/
	$(Q)$(INSTALL) -m 644 $(ext) $(preload) $(DESTDIR)$(libdir)/holdfast/
	$(Q)$(INSTALL) -m 644 $(archive) $(shared) $(DESTDIR)$(libdir)/
	$(Q)ln -sf $(notdir $(shared)) $(DESTDIR)$(libdir)/$(soname)
	$(Q)ln -sf $(soname) $(DESTDIR)$(libdir)/libholdfast.so
	$(Q)$(INSTALL) -m 644 $(BUILD)/holdfast.pc $(DESTDIR)$(libdir)/pkgconfig/
	$(Q)$(INSTALL) -m 644 $(headers) $(DESTDIR)$(incdir)/
	$(Q)$(INSTALL) -m 644 $(pages) $(DESTDIR)$(mandir)/man1/
	@echo "installed under $(DESTDIR)$(PREFIX); the extension is $(libdir)/holdfast/holdfast.so"

uninstall:
	$(Q)rm -f $(DESTDIR)$(bindir)/holdfast $(addprefix $(DESTDIR)$(libdir)/holdfast/,holdfast.so holdfast-preload.so) \
	  $(addprefix $(DESTDIR)$(libdir)/,libholdfast.a libholdfast.so $(soname) $(notdir $(shared)) pkgconfig/holdfast.pc) \
	  $(addprefix $(DESTDIR)$(incdir)/,$(notdir $(headers))) $(addprefix $(DESTDIR)$(mandir)/man1/,$(notdir $(pages)))
	$(Q)rmdir $(DESTDIR)$(libdir)/holdfast 2>/dev/null || true

clean:
	$(Q)rm -rf $(BUILD)

help:
	@echo 'make            build/holdfast.so, build/libholdfast.{a,so}, build/holdfast (the tool)'
	@echo 'make demo       see it work, 15 s without and with it; DIR=path: there; LAB=1: on real NFS and SMB mounts'
	@echo 'make demo-programs  the stock shell and Python, which need no change; DIR=path'
	@echo 'make check      all tests; CHECK=unit,proc,fault,fuzz,clients,suite,memcheck: only these'
	@echo 'make lab        the tests on real NFS, SMB and other mounts, in user-mode Linux'
	@echo 'make lint       format, include arrows, static analysis, symbols, versions'
	@echo 'make bench      what holdfast costs'
	@echo 'make long       check and lab with the long runs'
	@echo 'make memcheck   valgrind over the unit tests and a session through the shim'
	@echo 'make install    PREFIX=/usr/local DESTDIR=; make uninstall takes it away again'
	@echo 'make clean      removes build/'
	@echo 'Variables: V=1 WERROR=1 BUILD=dir CC CFLAGS CPPFLAGS LDFLAGS, HOLDFAST_DEPS=0 (install nothing)'
