/* jrl - list the family of tools, and run jrl-X for `jrl X`. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "tool/cli.h"
#include "tool/log.h"

/* The folder this program lies in: its family lies there, too. The caller frees. */
static char *own_folder(void)
{
    char path[4096];
    ssize_t len = readlink("/proc/self/exe", path, sizeof path - 1);
    char *slash;

    if (len <= 0)
        return jrl_xstrdup(".");
    path[len] = '\0';
    slash = strrchr(path, '/');
    return jrl_xstrndup(path, slash && slash != path ? (size_t)(slash - path) : 1);
}

/* The purpose of a tool: the second line of its help. */
static void print_purpose(const char *path, const char *name)
{
    char line[512] = "";
    int ends[2], status;
    pid_t child;
    FILE *help;

    fflush(stdout);
    if (pipe(ends) < 0 || (child = fork()) < 0)
        return;
    if (child == 0) {
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        close(ends[1]);
        execl(path, name, "--help", (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    help = fdopen(ends[0], "r");
    for (int i = 0; help && i < 2 && fgets(line, sizeof line, help); i++)
        ;
    while (help && fgetc(help) != EOF)
        ;
    if (help)
        fclose(help);
    waitpid(child, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        printf("  %-15s %s", name, line);
}

static int is_tool(const struct dirent *entry)
{
    return strncmp(entry->d_name, "jrl-", 4) == 0 && !strchr(entry->d_name, '.');
}

static int list(const char *folder)
{
    struct dirent **entries;
    int n = scandir(folder, &entries, is_tool, alphasort);

    if (n < 0) {
        jrl_log_error("cannot read '%s': %s", folder, strerror(errno));
        return 1;
    }
    puts("jrl: reinforcement learning of reasoning models as a pipeline\n");
    for (int i = 0; i < n; i++) {
        char *path = jrl_path_join(folder, entries[i]->d_name);

        if (access(path, X_OK) == 0)
            print_purpose(path, entries[i]->d_name);
        free(path);
        free(entries[i]);
    }
    free(entries);
    puts("\n'jrl X ...' runs jrl-X; jrl-X --help lists its options; jrl(7) is the tour");
    if (fflush(stdout) != 0 || close(STDOUT_FILENO) < 0) {
        jrl_log_error("cannot write standard output: %s", strerror(errno));
        return 1;
    }
    return 0;
}

/* Become jrl-NAME, from our own folder or from PATH. */
static int run_tool(const char *folder, char **argv)
{
    char *name = jrl_xasprintf("jrl-%s", argv[0]), *path = jrl_path_join(folder, name);

    if (!strchr(name, '/')) {
        argv[0] = name;
        execv(path, argv);
        if (errno == ENOENT)
            execvp(name, argv);
    }
    jrl_log_error("there is no tool '%s'; 'jrl' lists the family", name);
    free(name);
    free(path);
    return 2;
}

int main(int argc, char **argv)
{
    const struct jrl_option options[] = { JRL_OPT_END };
    const struct jrl_tool tool = { "jrl", "list the tools, or run jrl-X for jrl X", "[X [options] ...]", options, 0, 0 };
    char *folder = own_folder(), **args;
    int rc;

    if (argc > 1 && argv[1][0] != '-') {
        rc = run_tool(folder, argv + 1);
    } else {
        jrl_cli_parse(&tool, argc, argv, &args);
        rc = list(folder);
    }
    free(folder);
    return rc;
}
