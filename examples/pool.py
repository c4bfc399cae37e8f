#!/usr/bin/env python3
"""The pool from Python, by ctypes: what it takes, in one page. An example, not a binding.

    LD_LIBRARY_PATH=build python3 examples/pool.py guests.db

libholdfast uses the SQLite library that it is linked with, the system's; Python's sqlite3 module may be another copy.
So statements run through the lease's own connection, by the few functions of SQLite that are declared below.
"""
import ctypes
import os
import sys
from ctypes import (CFUNCTYPE, POINTER, Structure, byref, c_char_p, c_int, c_int64, c_size_t, c_void_p)

lib = ctypes.CDLL(os.environ.get("HOLDFAST_LIBRARY", "libholdfast.so.0"))
sql = ctypes.CDLL("libsqlite3.so.0")
READ, WRITE = 1, 2
SQLITE_ROW, SQLITE_DONE = 100, 101


class Config(Structure):
    """struct holdfast_pool_config: zero means the default, struct_size comes first."""
    _fields_ = [("struct_size", c_size_t), ("name", c_char_p), ("vfs", c_char_p),
                *((name, c_int) for name in (
                    "flags", "readers", "wait_ms", "handoff_us", "journal", "statements", "leak_ms", "max_read_age_ms",
                    "checkpoint_frames", "checkpoint_ms", "wal_limit_mib", "check", "check_ms")),
                ("on_connect", c_void_p), ("on_connect_arg", c_void_p)]


class Options(Structure):
    """struct holdfast_options: a deadline and a name for one call."""
    _fields_ = [("struct_size", c_size_t), ("wait_ms", c_int), ("tag", c_char_p), ("cancel", c_void_p)]


Scoped = CFUNCTYPE(c_int, c_void_p, c_void_p)  # holdfast_fn: what runs in a transaction


def declare(library, name, result, *arguments):
    function = getattr(library, name)
    function.restype, function.argtypes = result, arguments
    return function


pool_open = declare(lib, "holdfast_pool_open", c_int, c_char_p, POINTER(Config), POINTER(c_void_p))
pool_close = declare(lib, "holdfast_pool_close", c_int, c_void_p, c_int)
read_with = declare(lib, "holdfast_read_with", c_int, c_void_p, POINTER(Options), Scoped, c_void_p)
write_with = declare(lib, "holdfast_write_with", c_int, c_void_p, POINTER(Options), Scoped, c_void_p)
prepare = declare(lib, "holdfast_prepare", c_int, c_void_p, c_char_p, POINTER(c_void_p))
errmsg = declare(lib, "holdfast_errmsg", c_char_p)
strerror = declare(lib, "holdfast_strerror", c_char_p, c_int)
bind_text = declare(sql, "sqlite3_bind_text", c_int, c_void_p, c_int, c_char_p, c_int, c_void_p)
bind_int = declare(sql, "sqlite3_bind_int64", c_int, c_void_p, c_int, c_int64)
step = declare(sql, "sqlite3_step", c_int, c_void_p)
column_count = declare(sql, "sqlite3_column_count", c_int, c_void_p)
column_text = declare(sql, "sqlite3_column_text", c_char_p, c_void_p, c_int)


class Failed(Exception):
    """A code that is not 0: below zero holdfast's own, whose long text says who is in the way."""

    def __init__(self, code):
        super().__init__((errmsg() if code < 0 else strerror(code)).decode())
        self.code = code


class Lease:
    """A connection, while a transaction runs. Statements are prepared once and kept by the pool."""

    def __init__(self, handle):
        self.handle = handle

    def execute(self, text, *values):
        statement = c_void_p()
        code = prepare(self.handle, text.encode(), byref(statement))
        if code:
            raise Failed(code)
        for index, value in enumerate(values, 1):
            if isinstance(value, int):
                bind_int(statement, index, value)
            else:
                bind_text(statement, index, value.encode(), -1, c_void_p(-1))  # -1: SQLite takes a copy
        rows = []
        while (code := step(statement)) == SQLITE_ROW:
            rows.append([(column_text(statement, i) or b"").decode() for i in range(column_count(statement))])
        if code != SQLITE_DONE:
            raise Failed(code)
        return rows


class Pool:
    """The pool of a file: opening it again, under any name, gives the same one."""

    def __init__(self, path, **settings):
        config = Config(ctypes.sizeof(Config), **settings)
        self.handle = c_void_p()
        code = pool_open(os.fsencode(path), byref(config), byref(self.handle))
        if code:
            raise Failed(code)

    def _scoped(self, call, work, tag, wait_ms):
        result, error = [], []

        @Scoped
        def run(handle, _):
            try:
                result.append(work(Lease(handle)))
                return 0
            except BaseException as problem:  # must not leave through C: it is raised again below
                error.append(problem)
                return 1  # anything but 0 rolls back

        options = Options(ctypes.sizeof(Options), wait_ms, tag.encode(), None)
        code = call(self.handle, byref(options), run, None)
        if error:
            raise error[0]
        if code:
            raise Failed(code)
        return result[0]

    def read(self, work, tag="python", wait_ms=0):
        return self._scoped(read_with, work, tag, wait_ms)

    def write(self, work, tag="python", wait_ms=0):
        return self._scoped(write_with, work, tag, wait_ms)

    def close(self):
        code = pool_close(self.handle, 0)
        if code:
            raise Failed(code)


def main(path):
    pool = Pool(path, name=b"guests")
    pool.write(lambda c: c.execute("CREATE TABLE IF NOT EXISTS guest(id INTEGER PRIMARY KEY, name TEXT)"))
    before = pool.read(lambda c: c.execute("SELECT count(*) FROM guest"))[0][0]

    def add(connection):
        for number in range(25):
            connection.execute("INSERT INTO guest(name) VALUES(?)", f"guest {number}")

    pool.write(add)  # all of them, or none
    try:
        pool.write(lambda c: (c.execute("DELETE FROM guest"), 1 / 0))  # an exception rolls back
    except ZeroDivisionError:
        pass
    after = pool.read(lambda c: c.execute("SELECT count(*) FROM guest"))[0][0]
    print(f"{before} guests before, {after} now; "
          f"{pool.read(lambda c: c.execute('PRAGMA holdfast'))[0][0]}")
    pool.close()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: pool.py DATABASE")
    main(sys.argv[1])
