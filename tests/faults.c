/* faults.c - a library to preload into a process tree: it counts what changes files (write, fsync, rename, symlink,
 * unlink, mkdir and their relatives) under one folder, notes each call, and kills at a chosen one.
 *
 *   JRL_FAULTS=FILE         the counter, shared by the tree; a file of 8 zero bytes to begin with. Unset: nothing happens
 *   JRL_FAULTS_UNDER=DIR    count only calls on paths under this folder (absolute, links resolved)
 *   JRL_FAULTS_LOG=FILE     append "NUMBER CALL PATH [SECOND PATH]" for each counted call
 *   JRL_FAULTS_AT=N         kill at call N ...
 *   JRL_FAULTS_MATCH=TEXT   ... or at the first call whose "CALL PATH [SECOND PATH]" contains this
 *   JRL_FAULTS_WHEN=before|after   ... before it is made (default) or after
 *   JRL_FAULTS_KILL=process|session   the caller alone (default) or its whole session, as a power cut would
 *
 * What stdio writes from inside the C library does not pass here; the calls before and after it do. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static _Atomic uint64_t *counter;
static const char *under, *match;
static size_t under_len;
static int log_fd = -1;
static uint64_t kill_at;
static bool kill_after, kill_session;

__attribute__((constructor)) static void start(void)
{
    const char *file = getenv("JRL_FAULTS"), *log = getenv("JRL_FAULTS_LOG"), *at = getenv("JRL_FAULTS_AT");
    const char *when = getenv("JRL_FAULTS_WHEN"), *who = getenv("JRL_FAULTS_KILL");
    int fd;

    if (!file || (fd = open(file, O_RDWR | O_CLOEXEC)) < 0)
        return;
    counter = mmap(NULL, sizeof(*counter), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (counter == MAP_FAILED) {
        counter = NULL;
        return;
    }
    under = getenv("JRL_FAULTS_UNDER");
    under_len = under ? strlen(under) : 0;
    if (log && (fd = open(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666)) >= 0) {
        log_fd = fcntl(fd, F_DUPFD_CLOEXEC, 200); /* out of the way of shells, which use small numbers */
        close(fd);
    }
    match = getenv("JRL_FAULTS_MATCH");
    kill_at = at ? strtoull(at, NULL, 10) : 0;
    kill_after = when && !strcmp(when, "after");
    kill_session = who && !strcmp(who, "session");
}

static void end_of_session(void)
{
    pid_t session = getsid(0), self = getpid();
    DIR *proc = opendir("/proc");
    struct dirent *entry;

    while (proc && (entry = readdir(proc))) {
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);

        if (pid > 0 && pid != self && getsid(pid) == session)
            kill(pid, SIGKILL);
    }
    kill(self, SIGKILL);
}

/* PATH relative to the folder DIRFD, made absolute; the last component's own link is not followed. */
static void absolute(char out[PATH_MAX], int dirfd, const char *path)
{
    char link[64], base[PATH_MAX], full[2 * PATH_MAX + 2], folder[PATH_MAX];
    ssize_t n = 0;
    char *slash;

    if (path[0] == '/') {
        snprintf(full, sizeof(full), "%s", path);
    } else {
        if (dirfd == AT_FDCWD)
            snprintf(link, sizeof(link), "/proc/self/cwd");
        else
            snprintf(link, sizeof(link), "/proc/self/fd/%d", dirfd);
        n = readlink(link, base, sizeof(base) - 1);
        base[n > 0 ? n : 0] = '\0';
        snprintf(full, sizeof(full), "%s/%s", base, path);
    }
    while ((n = (ssize_t)strlen(full)) > 1 && full[n - 1] == '/')
        full[n - 1] = '\0';
    slash = strrchr(full, '/');
    if (slash && slash != full) {
        *slash = '\0';
        if (!realpath(full, folder))
            snprintf(folder, sizeof(folder), "%s", full);
        n = snprintf(out, PATH_MAX, "%s/%s", folder, slash + 1);
    } else {
        n = snprintf(out, PATH_MAX, "%s", full);
    }
    if (n >= PATH_MAX)
        out[PATH_MAX - 1] = '\0';
}

static bool counts(const char *path)
{
    return !under || (!strncmp(path, under, under_len) && (path[under_len] == '/' || path[under_len] == '\0'));
}

static bool note(const char *call, const char *path, const char *second)
{
    char line[3 * PATH_MAX];
    uint64_t number;
    int n, saved = errno;

    if (!counts(path) && !(second && counts(second)))
        return false;
    number = atomic_fetch_add(counter, 1) + 1;
    n = snprintf(line, sizeof(line), "%llu %s %s%s%s\n", (unsigned long long)number, call, path, second ? " " : "", second ? second : "");
    if (log_fd >= 0)
        syscall(SYS_write, log_fd, line, (size_t)n);
    errno = saved;
    return number == kill_at || (match && strstr(line, match));
}

static void die(void)
{
    if (kill_session)
        end_of_session();
    kill(getpid(), SIGKILL);
}

/* Before the call: true when the process is to die after it. */
static bool before_path(const char *call, int dirfd, const char *path, int second_dirfd, const char *second)
{
    char first[PATH_MAX], other[PATH_MAX];
    bool hit;

    if (!counter || !path)
        return false;
    absolute(first, dirfd, path);
    if (second)
        absolute(other, second_dirfd, second);
    hit = note(call, first, second ? other : NULL);
    if (hit && !kill_after)
        die();
    return hit;
}

/* The same for a call on an open file: pipes, terminals and devices do not count. */
static bool before_fd(const char *call, int fd)
{
    char link[64], path[PATH_MAX];
    struct stat st;
    ssize_t n;
    bool hit;
    int saved = errno;

    if (!counter || fd == log_fd || fstat(fd, &st) != 0 || (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))) {
        errno = saved;
        return false;
    }
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    n = readlink(link, path, sizeof(path) - 1);
    path[n > 0 ? n : 0] = '\0';
    errno = saved;
    hit = note(call, path, NULL);
    if (hit && !kill_after)
        die();
    return hit;
}

/* The C library's own function of the same name, called between the two halves. */
#define NEXT(type, name, ...) \
    static type (*next)(__VA_ARGS__); \
    if (!next) \
        *(void **)&next = dlsym(RTLD_NEXT, name)
#define AROUND(type, hit, call) \
    do { \
        bool dies = (hit); \
        type result = (call); \
        if (dies) \
            die(); \
        return result; \
    } while (0)

ssize_t write(int fd, const void *data, size_t n)
{
    NEXT(ssize_t, "write", int, const void *, size_t);
    AROUND(ssize_t, before_fd("write", fd), next(fd, data, n));
}

ssize_t pwrite(int fd, const void *data, size_t n, off_t at)
{
    NEXT(ssize_t, "pwrite", int, const void *, size_t, off_t);
    AROUND(ssize_t, before_fd("write", fd), next(fd, data, n, at));
}

ssize_t writev(int fd, const struct iovec *parts, int n)
{
    NEXT(ssize_t, "writev", int, const struct iovec *, int);
    AROUND(ssize_t, before_fd("write", fd), next(fd, parts, n));
}

int fsync(int fd)
{
    NEXT(int, "fsync", int);
    AROUND(int, before_fd("fsync", fd), next(fd));
}

int fdatasync(int fd)
{
    NEXT(int, "fdatasync", int);
    AROUND(int, before_fd("fsync", fd), next(fd));
}

int rename(const char *from, const char *to)
{
    NEXT(int, "rename", const char *, const char *);
    AROUND(int, before_path("rename", AT_FDCWD, from, AT_FDCWD, to), next(from, to));
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    NEXT(int, "renameat", int, const char *, int, const char *);
    AROUND(int, before_path("rename", from_dir, from, to_dir, to), next(from_dir, from, to_dir, to));
}

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned int flags)
{
    NEXT(int, "renameat2", int, const char *, int, const char *, unsigned int);
    AROUND(int, before_path("rename", from_dir, from, to_dir, to), next(from_dir, from, to_dir, to, flags));
}

int symlink(const char *target, const char *path)
{
    NEXT(int, "symlink", const char *, const char *);
    AROUND(int, before_path("symlink", AT_FDCWD, path, 0, NULL), next(target, path));
}

int symlinkat(const char *target, int dir, const char *path)
{
    NEXT(int, "symlinkat", const char *, int, const char *);
    AROUND(int, before_path("symlink", dir, path, 0, NULL), next(target, dir, path));
}

int unlink(const char *path)
{
    NEXT(int, "unlink", const char *);
    AROUND(int, before_path("unlink", AT_FDCWD, path, 0, NULL), next(path));
}

int unlinkat(int dir, const char *path, int flags)
{
    NEXT(int, "unlinkat", int, const char *, int);
    AROUND(int, before_path("unlink", dir, path, 0, NULL), next(dir, path, flags));
}

int rmdir(const char *path)
{
    NEXT(int, "rmdir", const char *);
    AROUND(int, before_path("unlink", AT_FDCWD, path, 0, NULL), next(path));
}

int mkdir(const char *path, mode_t mode)
{
    NEXT(int, "mkdir", const char *, mode_t);
    AROUND(int, before_path("mkdir", AT_FDCWD, path, 0, NULL), next(path, mode));
}

int mkdirat(int dir, const char *path, mode_t mode)
{
    NEXT(int, "mkdirat", int, const char *, mode_t);
    AROUND(int, before_path("mkdir", dir, path, 0, NULL), next(dir, path, mode));
}
