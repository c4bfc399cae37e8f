/*
 * api.h - the functions of one SQLite library, as this shim calls them.
 *
 * Several SQLite libraries may live in one process and load the same holdfast.so, so there is no global
 * sqlite3_api: each hf_vfs holds its own table, filled by ext.c (from what load_extension() hands in) or by
 * linked.c (from the library this program is linked with). sqlite3.h is used for types and constants only;
 * no other file of this folder calls a function of SQLite by name.
 */
#ifndef HF_API_H
#define HF_API_H

#include <sqlite3.h>

/* X(member, name after "sqlite3_"), what every SQLite since 3.15 has. */
#define HF_API_EACH(X)                                                                                       \
  X(open_v2)                                                                                                 \
  X(close)                                                                                                   \
  X(busy_timeout)                                                                                            \
  X(exec)                                                                                                    \
  X(prepare_v2)                                                                                              \
  X(step)                                                                                                    \
  X(finalize)                                                                                                \
  X(column_text)                                                                                             \
  X(column_int64)                                                                                            \
  X(column_count)                                                                                            \
  X(db_readonly)                                                                                             \
  X(errmsg)                                                                                                  \
  X(extended_errcode)                                                                                        \
  X(get_autocommit)                                                                                          \
  X(next_stmt)                                                                                               \
  X(stmt_busy)                                                                                               \
  X(stmt_readonly)                                                                                           \
  X(sql)                                                                                                     \
  X(db_release_memory)                                                                                       \
  X(db_status)                                                                                               \
  X(db_filename)                                                                                             \
  X(file_control)                                                                                            \
  X(malloc)                                                                                                  \
  X(free)                                                                                                    \
  X(vfs_find)                                                                                                \
  X(vfs_register)                                                                                            \
  X(uri_parameter)                                                                                           \
  X(uri_boolean)                                                                                             \
  X(log)                                                                                                     \
  X(libversion)                                                                                              \
  X(libversion_number)                                                                                       \
  X(sourceid)                                                                                                \
  X(create_module_v2)                                                                                        \
  X(create_function_v2)                                                                                      \
  X(declare_vtab)                                                                                            \
  X(vtab_config)                                                                                             \
  X(value_text)                                                                                              \
  X(value_int64)                                                                                             \
  X(value_type)                                                                                              \
  X(result_text)                                                                                             \
  X(result_int64)                                                                                            \
  X(result_null)                                                                                             \
  X(result_error)                                                                                            \
  X(result_error_nomem)

#define HF_API_MEMBER(name) __typeof__(&sqlite3_##name) name;
typedef struct hf_api {
  HF_API_EACH(HF_API_MEMBER)
  void (*interrupt)(sqlite3 *db);                  /* has another name in the table of load_extension() */
  const char *(*uri_key)(const char *name, int n); /* since 3.31, else NULL */
} hf_api;
#undef HF_API_MEMBER

#endif
