/* test_kernels.c - the kernel table: every kernel of the backend against the CPU, on tensor cores, in the exact order and by the library (cases_*.c); checks of
 * several kernels together; that each CUDA kernel has run. With the emulated plug-in (make check) under several orders of threads, with a real one (make
 * check-gpu) on a GPU. A kernel of the table without a case does not link. */
#include "cuda_test.h"

#include <dlfcn.h>
#include <fnmatch.h>

#include "kernel_names.h"

#define ROW(name) { #name, case_##name },
static const struct { const char *name; void (*run)(struct fixture *f); } cases[] = { JRL_FORWARD_KERNELS(ROW) JRL_TRAINING_KERNELS(ROW) };
#undef ROW
#define N_KERNELS (sizeof kernels / sizeof *kernels)
#define N_CASES (sizeof cases / sizeof *cases)

static struct fixture fixture;

static struct jrl_device *open_gpu(const char *disable)
{
    struct jrl_device *dev;

    setenv("JRL_DISABLE", disable, 1);
    MUST(jrl_device_open(&dev, "cuda", 1, err));
    unsetenv("JRL_DISABLE");
    return dev;
}

/* A function of the plug-in that is loaded; NULL when it has none of that name. */
static void *plugin_symbol(const char *name)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    void *symbol = NULL;
    char line[8192];

    assert_non_null(maps);
    while (!symbol && fgets(line, sizeof line, maps)) {
        char *path = strchr(line, '/');

        if (path && strstr(path, "libjrl-cuda.so")) {
            path[strcspn(path, "\n")] = '\0';
            symbol = dlsym(dlopen(path, RTLD_NOW | RTLD_NOLOAD), name);
        }
    }
    fclose(maps);
    return symbol;
}

bool is_emulated(void) { return plugin_symbol("emulator_is_here") != NULL; }
bool has_wgmma(const struct fixture *f) { return strncmp(jrl_device_path(f->tensor), "cuda-wgmma-", 11) == 0; }

int gpu_attribute(int which)
{
    void *driver = dlopen("libcuda.so.1", RTLD_NOW), *symbol = driver ? dlsym(driver, "cuDeviceGetAttribute") : NULL;
    int (*attribute)(int *value, int which, int device), value = 0;

    memcpy(&attribute, &symbol, sizeof attribute);
    return symbol && attribute(&value, which, 0) == 0 ? value : 0;
}

int64_t size_scale(void)
{
    const int n_processors = is_emulated() ? 4 : gpu_attribute(16);

    return n_processors < 4 ? 1 : n_processors / 4;
}

long launches_of(const char *name)
{
    static long (*launches)(const char *name);
    void *symbol = launches ? NULL : plugin_symbol("jrl_cuda_launches");

    if (!launches)
        memcpy(&launches, &symbol, sizeof launches);
    assert_non_null(launches);
    return launches(name);
}

void count_launches(const char *const *classes, int n, long *before)
{
    for (int i = 0; i < n; i++)
        before[i] = launches_of(classes[i]);
}

/* Whether only GPUs with wgmma run kernels of this name. */
static bool is_hopper(const char *name)
{
    const size_t n = strcspn(name + (*name == '('), "<"); /* "(tiles<D, 1>)" is one of tiles */

    for (size_t i = 0; i < N_KERNELS; i++)
        if (strncmp(kernels[i].name, name + (*name == '('), n) == 0 && kernels[i].name[n] == '\0')
            return kernels[i].hopper;
    return false;
}

void expect_launches(const struct fixture *f, const char *const *classes, int n, const long *before)
{
    for (int i = 0; i < n; i++)
        if (launches_of(classes[i]) == before[i] && (has_wgmma(f) || !is_hopper(classes[i])))
            fail_msg("%s has not run", classes[i]);
}

bool slot_of_device(const struct jrl_device *dev, int slot, const struct jrl_kernel_sizes *sizes, int64_t *taken, int64_t *planned)
{
    void *symbol = plugin_symbol("jrl_cuda_slot");
    bool (*of)(const struct jrl_device *, int, const struct jrl_kernel_sizes *, int64_t *, int64_t *);

    memcpy(&of, &symbol, sizeof of);
    assert_non_null(of);
    return of(dev, slot, sizes, taken, planned);
}

/* Emulated, the library is always there. */
static struct jrl_device *open_fast(void)
{
    struct jrl_device *dev = open_gpu("");
    bool warn = false;

    jrl_device_set_numerics(dev, "fast");
    if (strncmp(jrl_device_path(dev), "cuda-fast-", 10) == 0)
        return dev;
    if (is_emulated())
        fail_msg("%s", jrl_device_note(dev, &warn));
    print_message("# fast numerics: skipped: %s\n", jrl_device_note(dev, &warn));
    jrl_device_close(dev);
    return NULL;
}

static int open_devices(void **state)
{
    (void)state; /* each test has its own */
    MUST(jrl_device_open(&fixture.cpu, "cpu", 1, err));
    fixture.tensor = open_gpu("");
    fixture.no_wgmma = open_gpu("wgmma");
    fixture.exact = open_gpu("tensor");
    fixture.fast = open_fast();
    assert_true(strncmp(jrl_device_path(fixture.tensor), "cuda-wgmma-", 11) == 0 || strncmp(jrl_device_path(fixture.tensor), "cuda-mma-", 9) == 0);
    assert_string_equal(jrl_device_path(fixture.exact), "cuda-exact");
    assert_false(jrl_device_is_host(fixture.tensor));
    return 0;
}

static int close_devices(void **state)
{
    (void)state;
    jrl_device_close(fixture.tensor);
    jrl_device_close(fixture.no_wgmma);
    jrl_device_close(fixture.exact);
    jrl_device_close(fixture.fast);
    jrl_device_close(fixture.cpu);
    return 0;
}

/* Orders of threads in the emulator; a GPU has its own. */
static const char *const schedules[] = { "greedy", "greedy-reverse", "forward", "reverse", "chance" };
static size_t n_schedules = sizeof schedules / sizeof *schedules;
static int n_chances; /* or so many orders that are drawn, in all tests */

static void set_order(const char *schedule)
{
    setenv("JRL_EMULATOR_SCHEDULE", schedule, 1);
    setenv("JRL_EMULATOR_COPIES", strstr(schedule, "reverse") ? "early" : "late", 1);
}

/* Orders of a test that has N; the I-th of them. */
static size_t n_orders(size_t n)
{
    return n_chances ? (size_t)n_chances : n;
}
static void set_order_of(size_t i, const char *const *orders)
{
    char drawn[32];

    snprintf(drawn, sizeof drawn, "chance:%zu", i + 1);
    set_order(n_chances ? drawn : orders[i]);
}

static void run_case(void **state)
{
    void (*run)(struct fixture *f) = *(void (**)(struct fixture *))*state;

    for (size_t i = 0; i < n_orders(n_schedules); i++) {
        set_order_of(i, schedules);
        if (i == 1)
            setenv("JRL_EMULATOR_OPEN", "1", 1); /* what the host does is the same each time */
        struct jrl_device *const devices[] = { fixture.tensor, fixture.exact, fixture.fast }; /* most kernels are the same on all */

        for (int d = 0; d < (i == 0 ? 3 : 1) && devices[d]; d++) {
            fixture.gpu = devices[d];
            fixture.random.state = 1;
            run(&fixture);
            MUST(jrl_device_synchronise(fixture.gpu, err));
        }
    }
    unsetenv("JRL_EMULATOR_OPEN");
}

/* A check in one order of threads, or those that are drawn: it chooses sizes and devices itself. */
static void run_check(void (*check)(struct fixture *f), const char *schedule)
{
    setenv("JRL_EMULATOR_OPEN", "1", 1);
    for (size_t i = 0; i < n_orders(1); i++) {
        set_order_of(i, &schedule);
        fixture.gpu = fixture.tensor;
        fixture.random.state = 1;
        check(&fixture);
    }
    unsetenv("JRL_EMULATOR_OPEN");
}
static void test_tensor_steps(void **state) { (void)state; run_check(check_tensor_steps, "greedy"); }
static void test_product_rows(void **state)
{
    (void)state;
    run_check(check_product_rows, "greedy");
    run_check(check_some_product_rows, "greedy-reverse");
}
static struct jrl_device *tensor_of_one, *no_wgmma_of_one; /* GPUs of one processor, where they are emulated */
static void parts_in_turn(struct fixture *f) { check_parts_in_turn(f, tensor_of_one, no_wgmma_of_one); }
static void test_parts_in_turn(void **state)
{
    (void)state;
    setenv("JRL_EMULATOR_PROCESSORS", "1", 1); /* for which two tiles are enough */
    tensor_of_one = open_gpu("");
    no_wgmma_of_one = open_gpu("wgmma");
    unsetenv("JRL_EMULATOR_PROCESSORS");
    run_check(parts_in_turn, "greedy");
    jrl_device_close(tensor_of_one);
    jrl_device_close(no_wgmma_of_one);
}
static void test_attention_rows(void **state) { (void)state; run_check(check_attention_rows, "greedy"); }
static void test_backward_turns(void **state) { (void)state; run_check(check_backward_turns, "greedy"); }
static struct jrl_device *open_another(const char *how) { return strcmp(how, "fast") == 0 ? open_fast() : open_gpu(how); }
static void test_pass_memory(void **state)
{
    (void)state;
    set_order("greedy");
    setenv("JRL_EMULATOR_IDLE", "1", 1); /* numbers do not matter */
    setenv("JRL_EMULATOR_OPEN", "1", 1);
    check_pass_memory(open_another);
    unsetenv("JRL_EMULATOR_OPEN");
    unsetenv("JRL_EMULATOR_IDLE");
}

/* Every kernel of kernels/cuda that this GPU can run has run in this process. */
static void test_every_kernel_ran(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_KERNELS; i++)
        expect_launches(&fixture, &kernels[i].name, 1, (const long[]){ 0 });
    assert_true(!fixture.fast || launches_of("cublasLtMatmul") > 0);
}

/* Whether a GPU can be opened: 0, 77 when there is none, 1 when one does not work. */
static int probe(void)
{
    struct jrl_device *dev;
    struct jrl_error err = { 0 };
    bool warn = false;
    int rc = 0;

    if (jrl_device_open(&dev, "auto", 1, &err) < 0) {
        printf("check-gpu: %s\n", err.text);
        return 1;
    }
    if (jrl_device_is_host(dev)) {
        printf("check-gpu: skipped: %s\n", jrl_device_note(dev, &warn));
        rc = warn ? 1 : 77;
    }
    jrl_device_close(dev);
    return rc;
}

/* Whether one of the patterns is NAME's; without any, whether there is none. */
static bool is_wanted(const char *name, char **patterns)
{
    for (char **p = patterns; *p; p++)
        if (fnmatch(*p, name, 0) == 0)
            return true;
    return !*patterns;
}

static void print_names(const struct CMUnitTest *tests, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (tests[i].test_func != test_every_kernel_ran) /* which is of the whole table */
            puts(tests[i].name);
}

/* test_kernels [--probe | --kernels | --list | --once | --chance=N] [PATTERN...]: the tests whose names fit a pattern ('attention*' test_product_rows), or all.
 * --once: a case once a device, not for each order of threads, which a GPU does not have and a sanitizer makes long. --chance: in N orders that are drawn. */
int main(int argc, char **argv)
{
    static const struct CMUnitTest others[] = { cmocka_unit_test(test_tensor_steps), cmocka_unit_test(test_product_rows), cmocka_unit_test(test_parts_in_turn),
                                                cmocka_unit_test(test_attention_rows), cmocka_unit_test(test_backward_turns),
                                                cmocka_unit_test(test_every_kernel_ran), cmocka_unit_test(test_pass_memory) }; /* idle ones */
    enum { N_TESTS = N_CASES + sizeof others / sizeof *others };
    const char *option = argc > 1 && strncmp(argv[1], "--", 2) == 0 ? argv[1] : "";
    struct CMUnitTest tests[N_TESTS];
    size_t n = 0;

    for (size_t i = 0; i < N_TESTS; i++) {
        const struct CMUnitTest test = i >= N_CASES ? others[i - N_CASES]
                                       : (struct CMUnitTest){ cases[i].name, run_case, NULL, NULL, (void *)(uintptr_t)&cases[i].run };

        if (is_wanted(test.name, argv + (*option ? 2 : 1)))
            tests[n++] = test;
    }
    if (strcmp(option, "--probe") == 0)
        return probe();
    if (strcmp(option, "--list") == 0) {
        print_names(tests, n);
        return 0;
    }
    for (size_t i = 0; i < N_KERNELS && strcmp(option, "--kernels") == 0; i++)
        puts(kernels[i].name);
    if (strcmp(option, "--kernels") == 0)
        return 0;
    if (strncmp(option, "--chance=", 9) == 0)
        n_chances = atoi(option + 9);
    if (n == 0 || (*option && strcmp(option, "--once") && n_chances < 1)) {
        fprintf(stderr, "test_kernels: error: %s\n", n ? "unknown option" : "no test has such a name");
        return 2;
    }
    if (strcmp(option, "--once") == 0)
        n_schedules = 1;
    setenv("JRL_EMULATOR_BANKS", "strict", 1);
    return _cmocka_run_group_tests("kernels on a GPU", tests, n, open_devices, close_devices);
}
