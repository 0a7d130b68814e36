/* algebra_pairs.c - pairs of expressions from standard input, one "U<tab>V" a line; for each the verdict of answer/algebra.h
 * on standard output: equal, different, refused or limit. With -t N each pair is decided N times, and the nanoseconds
 * of processor time of one decision follow. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "answer/algebra.h"

static double now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return 1e9 * (double)t.tv_sec + (double)t.tv_nsec;
}

int main(int argc, char **argv)
{
    static const char *const names[] = { "equal", "different", "refused", "limit" };
    int times = argc == 3 && strcmp(argv[1], "-t") == 0 ? atoi(argv[2]) : 0;
    struct jrl_algebra *a = jrl_algebra_new();
    enum jrl_identity verdict = JRL_IDENTITY_REFUSED;
    char *line = NULL;
    size_t cap = 0;
    ssize_t len;

    while ((len = getline(&line, &cap, stdin)) > 0) {
        char *tab = memchr(line, '\t', (size_t)len);
        struct jrl_text u, v;
        double start = now_ns();

        len -= line[len - 1] == '\n';
        if (!tab) {
            fprintf(stderr, "algebra_pairs: a line without a tab\n");
            return 2;
        }
        u = (struct jrl_text){ line, (size_t)(tab - line) };
        v = (struct jrl_text){ tab + 1, (size_t)(line + len - tab - 1) };
        for (int i = 0; i < (times > 0 ? times : 1); i++)
            verdict = jrl_algebra_identity(a, u, v);
        printf("%s", names[verdict]);
        if (times > 0)
            printf("\t%.0f", (now_ns() - start) / times);
        putchar('\n');
    }
    free(line);
    jrl_algebra_free(a);
    return fflush(stdout) != 0;
}
