/* Counts what a process does to the files below one directory, and lets one of these calls fail.
 *
 * Preloaded into a node by cluster/tests/inject. Counted is every call that changes a file, a name or
 * what is durable. Settings come by the environment:
 *
 *   INJECT_DIR    the directory, an absolute path without a symbolic link
 *   INJECT_COUNT  a file of 8 bytes that the number of calls is kept in
 *   INJECT_AT     the call that goes wrong, from 1; 0 or absent for none
 *   INJECT_HOW    kill  the process dies instead of the call
 *                 torn  half of what the call writes is written, then the process dies
 *                 after the call happens, then the process dies
 *                 eio   the call fails with EIO
 *                 short half of what the call writes is written, and it fails with ENOSPC when it is asked
 *                       for the rest
 *                 full  from this call on, whatever takes space fails with ENOSPC
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum how { KILL, TORN, AFTER, EIO_ONCE, SHORT, FULL };

static char dir[PATH_MAX];
static size_t dir_len;
static _Atomic uint64_t own_count;
static _Atomic uint64_t *count = &own_count;
static uint64_t at;
static enum how how;
static atomic_bool full;

__attribute__((constructor)) static void begin(void) {
  const char *value = getenv("INJECT_DIR");
  if (!value) return;
  snprintf(dir, sizeof dir, "%s", value);
  dir_len = strlen(dir);
  if ((value = getenv("INJECT_AT"))) at = strtoull(value, NULL, 10);
  if ((value = getenv("INJECT_HOW"))) {
    const char *names[] = {"kill", "torn", "after", "eio", "short", "full"};
    for (int i = 0; i < 6; i++)
      if (!strcmp(value, names[i])) how = (enum how)i;
  }
  if ((value = getenv("INJECT_COUNT"))) {
    int file = open(value, O_RDWR);
    if (file >= 0) {
      void *map = mmap(NULL, 8, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
      if (map != MAP_FAILED) count = map;
      close(file);
    }
  }
}

static int below(const char *path) {
  return dir_len && path && !strncmp(path, dir, dir_len) &&
         (path[dir_len] == '/' || path[dir_len] == 0);
}

static int open_below(int file) {
  char link[64], path[PATH_MAX];
  if (!dir_len) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  ssize_t len = readlink(link, path, sizeof path - 1);
  if (len < 0) return 0;
  path[len] = 0;
  return below(path);
}

static void die(void) {
  kill(getpid(), SIGKILL);
  for (;;) pause();
}

/* What is to become of a call: 0 it happens, 1 it happens and then the process dies, 2 half of it
 * happens and then the process dies, 3 half of it happens, -1 it fails with errno. */
static int judge(int takes_space) {
  uint64_t nth = atomic_fetch_add(count, 1) + 1;
  if (atomic_load(&full) && takes_space) {
    errno = ENOSPC;
    return -1;
  }
  if (!at || nth != at) return 0;
  switch (how) {
    case KILL: die(); return 0;
    case TORN: return 2;
    case AFTER: return 1;
    case EIO_ONCE: errno = EIO; return -1;
    case SHORT: atomic_store(&full, 1); return 3;
    case FULL:
      atomic_store(&full, 1);
      if (!takes_space) return 0;
      errno = ENOSPC;
      return -1;
  }
  return 0;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* A call that happens as a whole or not at all. */
#define WHOLE(matters, takes_space, call)        \
  do {                                           \
    int verdict = (matters) ? judge(takes_space) : 0; \
    if (verdict == -1) return -1;                \
    __typeof__(call) result = call;              \
    if (verdict == 1 || verdict == 2) die();     \
    return result;                               \
  } while (0)

/* A call that writes `len` bytes. */
#define WRITES(file, len, call)                       \
  do {                                                \
    int verdict = open_below(file) ? judge(1) : 0;    \
    if (verdict == -1) return -1;                     \
    if (verdict >= 2 && len > 1) len /= 2;            \
    ssize_t result = call;                            \
    if (verdict == 1 || verdict == 2) die();          \
    return result;                                    \
  } while (0)

ssize_t write(int file, const void *bytes, size_t len) {
  WRITES(file, len, REAL(write)(file, bytes, len));
}
ssize_t pwrite(int file, const void *bytes, size_t len, off_t offset) {
  WRITES(file, len, REAL(pwrite)(file, bytes, len, offset));
}
ssize_t pwrite64(int file, const void *bytes, size_t len, off64_t offset) {
  WRITES(file, len, REAL(pwrite64)(file, bytes, len, offset));
}
ssize_t writev(int file, const struct iovec *parts, int number) {
  WHOLE(open_below(file), 1, REAL(writev)(file, parts, number));
}
ssize_t copy_file_range(int from, off64_t *from_at, int to, off64_t *to_at, size_t len,
                        unsigned flags) {
  WRITES(to, len, REAL(copy_file_range)(from, from_at, to, to_at, len, flags));
}
ssize_t sendfile64(int to, int from, off64_t *offset, size_t len);
ssize_t sendfile64(int to, int from, off64_t *offset, size_t len) {
  WRITES(to, len, REAL(sendfile64)(to, from, offset, len));
}
int fsync(int file) { WHOLE(open_below(file), 0, REAL(fsync)(file)); }
int fdatasync(int file) { WHOLE(open_below(file), 0, REAL(fdatasync)(file)); }
int sync_file_range(int file, off64_t offset, off64_t len, unsigned flags) {
  WHOLE(open_below(file), 0, REAL(sync_file_range)(file, offset, len, flags));
}
int ftruncate(int file, off_t len) { WHOLE(open_below(file), 0, REAL(ftruncate)(file, len)); }
int ftruncate64(int file, off64_t len) { WHOLE(open_below(file), 0, REAL(ftruncate64)(file, len)); }
int rename(const char *from, const char *to) { WHOLE(below(to), 0, REAL(rename)(from, to)); }
int renameat(int a, const char *from, int b, const char *to) {
  WHOLE(below(to), 0, REAL(renameat)(a, from, b, to));
}
int renameat2(int a, const char *from, int b, const char *to, unsigned flags) {
  WHOLE(below(to), 0, REAL(renameat2)(a, from, b, to, flags));
}
int link(const char *from, const char *to) { WHOLE(below(to), 1, REAL(link)(from, to)); }
int linkat(int a, const char *from, int b, const char *to, int flags) {
  WHOLE(below(to), 1, REAL(linkat)(a, from, b, to, flags));
}
int unlink(const char *path) { WHOLE(below(path), 0, REAL(unlink)(path)); }
int unlinkat(int at_dir, const char *path, int flags) {
  WHOLE(below(path) || (path[0] != '/' && open_below(at_dir)), 0,
        REAL(unlinkat)(at_dir, path, flags));
}
int rmdir(const char *path) { WHOLE(below(path), 0, REAL(rmdir)(path)); }
int mkdir(const char *path, mode_t mode) { WHOLE(below(path), 1, REAL(mkdir)(path, mode)); }

static int creates(const char *path, int flags) {
  struct stat found;
  if (!below(path)) return 0;
  return flags & O_TRUNC || (flags & O_CREAT && stat(path, &found));
}
#define MODE(flags)              \
  mode_t mode = 0;               \
  if (flags & (O_CREAT | O_TMPFILE)) { \
    va_list rest;                \
    va_start(rest, flags);       \
    mode = va_arg(rest, mode_t); \
    va_end(rest);                \
  }
int open(const char *path, int flags, ...) {
  MODE(flags);
  WHOLE(creates(path, flags), 1, REAL(open)(path, flags, mode));
}
int open64(const char *path, int flags, ...) {
  MODE(flags);
  WHOLE(creates(path, flags), 1, REAL(open64)(path, flags, mode));
}
int openat(int at_dir, const char *path, int flags, ...) {
  MODE(flags);
  WHOLE(creates(path, flags), 1, REAL(openat)(at_dir, path, flags, mode));
}
int openat64(int at_dir, const char *path, int flags, ...) {
  MODE(flags);
  WHOLE(creates(path, flags), 1, REAL(openat64)(at_dir, path, flags, mode));
}
