/* Records what a process does to the files below POWERLOSS_ROOT, and what it syncs, into the file POWERLOSS_TRACE.
 *
 * Preloaded. Changes nothing: every call is made as it came, and then written down (a sync before it is made: what was
 * written down before it is what it covers). One record is one write to a file that is only appended to, so threads
 * and child processes share it, and what was recorded survives the process. See trace.py for the format.
 *
 * Not seen, because nothing here uses them: stdio, io_uring, splice, renameat2, truncate by name, symbolic links, sync.
 * Shared writable maps cannot be seen: they are recorded as such, and the one who reads the trace decides.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

struct __attribute__((packed)) head {
    uint8_t op, flags;
    uint16_t path_bytes; /* two paths have a zero between them */
    uint32_t data_bytes;
    uint64_t inode, number; /* offset of a write, size of a truncation */
};

enum { TRUNCATES = 1, DURABLE = 1 };

static int trace_fd = -1;
static char root[PATH_MAX];
static size_t root_bytes;

__attribute__((constructor)) static void begin(void) {
    const char *trace = getenv("POWERLOSS_TRACE"), *under = getenv("POWERLOSS_ROOT");
    if (!trace || !under || strlen(under) + 1 >= sizeof root) return;
    strcpy(root, under);
    root_bytes = strlen(root);
    int fd = syscall(SYS_openat, AT_FDCWD, trace, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) { perror("powerloss: POWERLOSS_TRACE"); _exit(90); }
    trace_fd = fcntl(fd, F_DUPFD_CLOEXEC, 700); /* out of the way of who counts on small numbers */
    syscall(SYS_close, fd);
    if (trace_fd < 0) { perror("powerloss: F_DUPFD"); _exit(90); }
}

#define REAL(type, name, ...)                                         \
    static type (*real)(__VA_ARGS__);                                 \
    if (!real) real = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)

static int below(const char *path) {
    return trace_fd >= 0 && !strncmp(path, root, root_bytes) && (path[root_bytes] == '/' || !path[root_bytes]);
}

static void record(char op, int flags, uint64_t inode, uint64_t number, const char *path, const char *second,
                   const void *data, size_t size) {
    int saved = errno;
    static const char zero = 0;
    size_t one = strlen(path), two = second ? strlen(second) + 1 : 0;
    struct head head = {op, flags, one + two, size, inode, number};
    struct iovec parts[] = {{&head, sizeof head}, {(void *)path, one}, {(void *)&zero, second ? 1 : 0},
                            {(void *)second, second ? two - 1 : 0}, {(void *)data, size}};
    size_t all = sizeof head + one + two + size;
    if (syscall(SYS_writev, trace_fd, parts, 5) != (ssize_t)all) {
        dprintf(2, "powerloss: the trace could not be written: %s\n", strerror(errno));
        _exit(90);
    }
    errno = saved;
}

/* The path of an open file below the root; 0 where it is something else. */
static int named(int fd, char *path, struct stat *is) {
    int saved = errno, found = 0;
    if (trace_fd >= 0 && fd >= 0 && fd != trace_fd && !fstat(fd, is) && (S_ISREG(is->st_mode) || S_ISDIR(is->st_mode))) {
        char link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t size = readlink(link, path, PATH_MAX - 1);
        if (size > 0) {
            path[size] = 0;
            found = below(path);
        }
    }
    errno = saved;
    return found;
}

/* The absolute path of a name in a directory; it need not exist. Links in it are not followed. */
static int absolute(int dirfd, const char *name, char *path) {
    int saved = errno, found = 0;
    if (trace_fd < 0) return 0;
    if (name[0] == '/') {
        found = snprintf(path, PATH_MAX, "%s", name) < PATH_MAX;
    } else {
        char link[64], base[PATH_MAX];
        ssize_t size;
        if (dirfd == AT_FDCWD) strcpy(link, "/proc/self/cwd");
        else snprintf(link, sizeof link, "/proc/self/fd/%d", dirfd);
        if ((size = readlink(link, base, PATH_MAX - 1)) > 0) {
            base[size] = 0;
            found = snprintf(path, PATH_MAX, "%s/%s", base, name) < PATH_MAX;
        }
    }
    errno = saved;
    return found && below(path);
}

/* -- opening ---------------------------------------------------------------------------------- */

static int opened(int fd, int flags) {
    char path[PATH_MAX];
    struct stat is;
    if (fd >= 0 && flags & (O_CREAT | O_TRUNC) && named(fd, path, &is))
        record('O', flags & O_TRUNC ? TRUNCATES : 0, is.st_ino, 0, path, 0, 0, 0);
    return fd;
}

#define MODE(flags)                                            \
    mode_t mode = 0;                                           \
    if ((flags) & O_CREAT || ((flags) & O_TMPFILE) == O_TMPFILE) { \
        va_list rest;                                          \
        va_start(rest, flags);                                 \
        mode = va_arg(rest, mode_t);                           \
        va_end(rest);                                          \
    }

int open(const char *path, int flags, ...) {
    MODE(flags);
    REAL(int, open, const char *, int, ...);
    return opened(real(path, flags, mode), flags);
}

int open64(const char *path, int flags, ...) {
    MODE(flags);
    REAL(int, open64, const char *, int, ...);
    return opened(real(path, flags, mode), flags);
}

int openat(int dirfd, const char *path, int flags, ...) {
    MODE(flags);
    REAL(int, openat, int, const char *, int, ...);
    return opened(real(dirfd, path, flags, mode), flags);
}

int openat64(int dirfd, const char *path, int flags, ...) {
    MODE(flags);
    REAL(int, openat64, int, const char *, int, ...);
    return opened(real(dirfd, path, flags, mode), flags);
}

int creat(const char *path, mode_t mode) { return open(path, O_WRONLY | O_CREAT | O_TRUNC, mode); }

/* -- writing ---------------------------------------------------------------------------------- */

static void wrote(int fd, const struct iovec *parts, int count, ssize_t size, off_t offset) {
    char path[PATH_MAX];
    struct stat is;
    if (size <= 0 || !named(fd, path, &is)) return;
    if (offset < 0) offset = lseek(fd, 0, SEEK_CUR) - size;
    int flags = fcntl(fd, F_GETFL) & O_DSYNC ? DURABLE : 0;
    for (int i = 0; i < count && size > 0; i++) {
        size_t part = parts[i].iov_len < (size_t)size ? parts[i].iov_len : (size_t)size;
        record('W', flags, is.st_ino, offset, path, 0, parts[i].iov_base, part);
        offset += part;
        size -= part;
    }
}

ssize_t write(int fd, const void *data, size_t size) {
    REAL(ssize_t, write, int, const void *, size_t);
    ssize_t done = real(fd, data, size);
    struct iovec part = {(void *)data, size};
    wrote(fd, &part, 1, done, -1);
    return done;
}

#define PWRITE(name, offset_type)                                                  \
    ssize_t name(int fd, const void *data, size_t size, offset_type offset) {      \
        REAL(ssize_t, name, int, const void *, size_t, offset_type);               \
        ssize_t done = real(fd, data, size, offset);                               \
        struct iovec part = {(void *)data, size};                                  \
        wrote(fd, &part, 1, done, offset);                                         \
        return done;                                                               \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(ssize_t, writev, int, const struct iovec *, int);
    ssize_t done = real(fd, parts, count);
    wrote(fd, parts, count, done, -1);
    return done;
}

#define PWRITEV(name, offset_type)                                                     \
    ssize_t name(int fd, const struct iovec *parts, int count, offset_type offset) {   \
        REAL(ssize_t, name, int, const struct iovec *, int, offset_type);              \
        ssize_t done = real(fd, parts, count, offset);                                 \
        wrote(fd, parts, count, done, offset);                                         \
        return done;                                                                   \
    }
PWRITEV(pwritev, off_t)
PWRITEV(pwritev64, off64_t)

#define PWRITEV2(name, offset_type)                                                               \
    ssize_t name(int fd, const struct iovec *parts, int count, offset_type offset, int flags) {   \
        REAL(ssize_t, name, int, const struct iovec *, int, offset_type, int);                    \
        ssize_t done = real(fd, parts, count, offset, flags);                                     \
        wrote(fd, parts, count, done, offset);                                                    \
        return done;                                                                              \
    }
PWRITEV2(pwritev2, off_t)
PWRITEV2(pwritev64v2, off64_t)

/* What the kernel copied is read back. */
static void copied(int fd, ssize_t size, off_t offset) {
    char path[PATH_MAX], link[64], data[65536];
    struct stat is;
    if (size <= 0 || !named(fd, path, &is)) return;
    if (offset < 0) offset = lseek(fd, 0, SEEK_CUR) - size;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int back = syscall(SYS_openat, AT_FDCWD, link, O_RDONLY | O_CLOEXEC, 0);
    while (size > 0) {
        ssize_t got = pread(back, data, (size_t)size < sizeof data ? (size_t)size : sizeof data, offset);
        if (got <= 0) { record('X', 0, is.st_ino, 0, path, 0, 0, 0); break; }
        record('W', 0, is.st_ino, offset, path, 0, data, got);
        offset += got;
        size -= got;
    }
    syscall(SYS_close, back);
}

ssize_t sendfile(int out, int in, off_t *offset, size_t size) {
    REAL(ssize_t, sendfile, int, int, off_t *, size_t);
    ssize_t done = real(out, in, offset, size);
    copied(out, done, -1);
    return done;
}

ssize_t sendfile64(int out, int in, off64_t *offset, size_t size) {
    REAL(ssize_t, sendfile64, int, int, off64_t *, size_t);
    ssize_t done = real(out, in, offset, size);
    copied(out, done, -1);
    return done;
}

ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t size, unsigned flags) {
    REAL(ssize_t, copy_file_range, int, off64_t *, int, off64_t *, size_t, unsigned);
    ssize_t done = real(in, from, out, to, size, flags);
    copied(out, done, to ? *to - done : -1);
    return done;
}

static int cut(int fd, int done, off_t size) {
    char path[PATH_MAX];
    struct stat is;
    if (!done && named(fd, path, &is)) record('T', 0, is.st_ino, size, path, 0, 0, 0);
    return done;
}

int ftruncate(int fd, off_t size) {
    REAL(int, ftruncate, int, off_t);
    return cut(fd, real(fd, size), size);
}

int ftruncate64(int fd, off64_t size) {
    REAL(int, ftruncate64, int, off64_t);
    return cut(fd, real(fd, size), size);
}

static void unseen(int fd) {
    char path[PATH_MAX];
    struct stat is;
    if (named(fd, path, &is)) record('X', 0, is.st_ino, 0, path, 0, 0, 0);
}

int posix_fallocate(int fd, off_t offset, off_t size) {
    REAL(int, posix_fallocate, int, off_t, off_t);
    unseen(fd);
    return real(fd, offset, size);
}

int fallocate(int fd, int mode, off_t offset, off_t size) {
    REAL(int, fallocate, int, int, off_t, off_t);
    unseen(fd);
    return real(fd, mode, offset, size);
}

#define MMAP(name, offset_type)                                                                   \
    void *name(void *at, size_t size, int protection, int flags, int fd, offset_type offset) {    \
        REAL(void *, name, void *, size_t, int, int, int, offset_type);                           \
        if (fd >= 0 && protection & PROT_WRITE && flags & MAP_SHARED && !(flags & MAP_ANONYMOUS)) \
            unseen(fd);                                                                           \
        return real(at, size, protection, flags, fd, offset);                                     \
    }
MMAP(mmap, off_t)
MMAP(mmap64, off64_t)

/* -- syncing ---------------------------------------------------------------------------------- */

static void syncing(int fd) {
    char path[PATH_MAX];
    struct stat is;
    if (named(fd, path, &is)) record(S_ISDIR(is.st_mode) ? 'D' : 'S', 0, is.st_ino, 0, path, 0, 0, 0);
}

int fsync(int fd) {
    REAL(int, fsync, int);
    syncing(fd);
    return real(fd);
}

int fdatasync(int fd) {
    REAL(int, fdatasync, int);
    syncing(fd);
    return real(fd);
}

/* sync_file_range and msync promise nothing about a disk's cache: they are not recorded. */

/* -- names ------------------------------------------------------------------------------------ */

static int renamed(int done, int from, const char *old, int to, const char *new) {
    char one[PATH_MAX], two[PATH_MAX];
    if (!done && absolute(from, old, one) && absolute(to, new, two)) record('R', 0, 0, 0, one, two, 0, 0);
    return done;
}

int rename(const char *old, const char *new) {
    REAL(int, rename, const char *, const char *);
    return renamed(real(old, new), AT_FDCWD, old, AT_FDCWD, new);
}

int renameat(int from, const char *old, int to, const char *new) {
    REAL(int, renameat, int, const char *, int, const char *);
    return renamed(real(from, old, to, new), from, old, to, new);
}

static int linked(int done, int from, const char *old, int to, const char *new) {
    char one[PATH_MAX], two[PATH_MAX];
    if (!done && absolute(from, old, one) && absolute(to, new, two)) record('L', 0, 0, 0, one, two, 0, 0);
    return done;
}

int link(const char *old, const char *new) {
    REAL(int, link, const char *, const char *);
    return linked(real(old, new), AT_FDCWD, old, AT_FDCWD, new);
}

int linkat(int from, const char *old, int to, const char *new, int flags) {
    REAL(int, linkat, int, const char *, int, const char *, int);
    return linked(real(from, old, to, new, flags), from, old, to, new);
}

static int changed(int done, char op, int dirfd, const char *name) {
    char path[PATH_MAX];
    if (!done && absolute(dirfd, name, path)) record(op, 0, 0, 0, path, 0, 0, 0);
    return done;
}

int unlink(const char *name) {
    REAL(int, unlink, const char *);
    return changed(real(name), 'U', AT_FDCWD, name);
}

int unlinkat(int dirfd, const char *name, int flags) {
    REAL(int, unlinkat, int, const char *, int);
    return changed(real(dirfd, name, flags), 'U', dirfd, name);
}

int rmdir(const char *name) {
    REAL(int, rmdir, const char *);
    return changed(real(name), 'U', AT_FDCWD, name);
}

int mkdir(const char *name, mode_t mode) {
    REAL(int, mkdir, const char *, mode_t);
    return changed(real(name, mode), 'M', AT_FDCWD, name);
}

int mkdirat(int dirfd, const char *name, mode_t mode) {
    REAL(int, mkdirat, int, const char *, mode_t);
    return changed(real(dirfd, name, mode), 'M', dirfd, name);
}
