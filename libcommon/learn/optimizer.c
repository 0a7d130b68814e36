/* optimizer.c - see optimizer.h. */
#include "learn/optimizer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernels/adamw.h"
#include "model/safetensors.h"

/* Added to the norm before dividing by it, as torch's clip_grad_norm_ does. */
#define NORM_EPSILON 1e-6

static const char *const part_names[] = { "master", "m", "v" };
#define N_PARTS 3

double jrl_learning_rate(const struct jrl_optimizer_settings *s, int64_t k)
{
    if (s->warmup == 0 || k > s->warmup)
        return s->lr;
    return s->lr * ((double)(k - 1) / (double)s->warmup);
}

static int zeros(struct jrl_device *dev, float **out, int64_t n, const char *what, struct jrl_error *err)
{
    void *memory = NULL;
    int rc = jrl_device_alloc(dev, &memory, (size_t)n * sizeof(float), what, err);

    *out = memory;
    return rc < 0 ? rc : jrl_device_zero(dev, memory, (size_t)n * sizeof(float), err);
}

int jrl_optimizer_init(struct jrl_optimizer *o, struct jrl_device *dev, const struct jrl_optimizer_settings *s,
                       const struct jrl_parameter *parameters, int64_t n_parameters, int64_t n, struct jrl_error *err)
{
    int rc;

    *o = (struct jrl_optimizer){ .dev = dev, .settings = *s, .parameters = parameters, .n_parameters = n_parameters, .n = n };
    if ((rc = zeros(dev, &o->master, n, "master weights", err)) < 0 || (rc = zeros(dev, &o->m, n, "the first moment", err)) < 0 ||
        (rc = zeros(dev, &o->v, n, "the second moment", err)) < 0)
        jrl_optimizer_release(o);
    return rc;
}

void jrl_optimizer_release(struct jrl_optimizer *o)
{
    jrl_device_free(o->dev, o->master);
    jrl_device_free(o->dev, o->m);
    jrl_device_free(o->dev, o->v);
    memset(o, 0, sizeof(*o));
}

int jrl_optimizer_step(struct jrl_optimizer *o, double lr, const float *grad, void *weights, enum jrl_dtype dtype, double *norm,
                       bool *skipped, struct jrl_error *err)
{
    const struct jrl_optimizer_settings *s = &o->settings;
    struct jrl_adamw p = { .lr = lr, .beta1 = s->beta1, .beta2 = s->beta2, .eps = s->eps, .weight_decay = s->weight_decay,
                           .grad_scale = 1, .step = o->updates + 1 };
    double squares;
    int rc;

    if ((rc = jrl_sum_squares(o->dev, &squares, grad, o->n, err)) < 0)
        return rc;
    *norm = sqrt(squares);
    *skipped = !isfinite(*norm);
    if (*skipped)
        return JRL_OK;
    if (s->grad_clip > 0 && *norm + NORM_EPSILON > s->grad_clip)
        p.grad_scale = s->grad_clip / (*norm + NORM_EPSILON);
    if ((rc = jrl_adamw_step(o->dev, &p, o->master, o->m, o->v, grad, weights, dtype, o->n, err)) < 0 ||
        (rc = jrl_device_synchronise(o->dev, err)) < 0) /* or a failure would be a later step's */
        return rc;
    o->updates++;
    return JRL_OK;
}

static char *part_path(const char *policy_dir, int part)
{
    return jrl_xasprintf("%s/optimizer/%s.safetensors", policy_dir, part_names[part]);
}

bool jrl_optimizer_exists(const char *policy_dir)
{
    char *path = jrl_path_join(policy_dir, "optimizer");
    bool exists = access(path, F_OK) == 0;

    free(path);
    return exists;
}

/* One tensor of the state file and its place in the flat array. */
struct copy {
    const struct jrl_parameter *parameter;
    const struct jrl_tensor *tensor;
    float *to;
    bool here; /* the array lies in our memory: the threads copy */
    bool finite;
};

static void check_tensor(void *ctx, int64_t part, int thread)
{
    struct copy *c = (struct copy *)ctx + part;
    const int64_t n = c->parameter->n_elements;
    bool finite = true;

    (void)thread;
    if (c->here)
        memcpy(c->to, c->tensor->data, (size_t)n * sizeof(float));
    for (int64_t i = 0; i < n; i++) {
        float x;

        memcpy(&x, (const uint8_t *)c->tensor->data + i * (int64_t)sizeof(x), sizeof(x)); /* a file by others may be unaligned */
        finite &= isfinite(x) != 0;
    }
    c->finite = finite;
}

static const struct jrl_tensor *find_tensor(const struct jrl_safetensors *f, const struct jrl_parameter *p, const char *path,
                                            struct jrl_error *err)
{
    for (int64_t i = 0; i < f->n_tensors; i++) {
        const struct jrl_tensor *t = &f->tensors[i];

        if (strcmp(t->name, p->name) != 0)
            continue;
        if (t->dtype != JRL_F32 || t->n_dims != p->n_dims || t->shape[0] != p->shape[0] ||
            (p->n_dims == 2 && t->shape[1] != p->shape[1])) {
            (void)jrl_fail(err, JRL_ERR_INPUT, "'%s': tensor '%s' is not f32 of the model's shape", path, p->name);
            return NULL;
        }
        return t;
    }
    (void)jrl_fail(err, JRL_ERR_INPUT, "'%s': tensor '%s' is missing", path, p->name);
    return NULL;
}

static int load_part(struct jrl_optimizer *o, float *to, const char *path, struct jrl_error *err)
{
    const bool here = jrl_device_is_host(o->dev);
    struct copy *copies = jrl_xcalloc((size_t)o->n_parameters, sizeof(*copies));
    struct jrl_safetensors file = { 0 };
    int rc;

    if ((rc = jrl_safetensors_open(&file, path, err)) < 0)
        goto out;
    if (file.n_tensors != o->n_parameters) {
        rc = jrl_fail(err, JRL_ERR_INPUT, "'%s' holds %lld tensors, the model has %lld", path, (long long)file.n_tensors,
                      (long long)o->n_parameters);
        goto out;
    }
    for (int64_t i = 0; i < o->n_parameters; i++) {
        copies[i] = (struct copy){ .parameter = &o->parameters[i], .to = to + o->parameters[i].offset, .here = here };
        if (!(copies[i].tensor = find_tensor(&file, &o->parameters[i], path, err))) {
            rc = JRL_ERR_INPUT;
            goto out;
        }
    }
    jrl_pool_run(jrl_device_pool(o->dev), o->n_parameters, check_tensor, copies);
    for (int64_t i = 0; i < o->n_parameters && rc == JRL_OK; i++)
        if (!copies[i].finite)
            rc = jrl_fail(err, JRL_ERR_INPUT, "'%s': tensor '%s' holds a value that is not finite", path, o->parameters[i].name);
        else if (!here)
            rc = jrl_device_upload(o->dev, copies[i].to, copies[i].tensor->data, (size_t)o->parameters[i].n_elements * sizeof(float), err);
out:
    jrl_safetensors_close(&file);
    free(copies);
    return rc;
}

int jrl_optimizer_load(struct jrl_optimizer *o, const char *policy_dir, struct jrl_error *err)
{
    float *const arrays[N_PARTS] = { o->master, o->m, o->v };
    int rc = JRL_OK;

    for (int i = 0; i < N_PARTS && rc == JRL_OK; i++) {
        char *path = part_path(policy_dir, i);

        rc = load_part(o, arrays[i], path, err);
        free(path);
    }
    return rc;
}

int jrl_optimizer_save(const struct jrl_optimizer *o, const char *policy_dir, struct jrl_error *err)
{
    const float *const arrays[N_PARTS] = { o->master, o->m, o->v };
    struct jrl_tensor *tensors = jrl_xcalloc((size_t)o->n_parameters, sizeof(*tensors));
    char *folder = jrl_path_join(policy_dir, "optimizer");
    int rc = jrl_make_folder(folder, err);

    for (int part = 0; part < N_PARTS && rc == JRL_OK; part++) {
        char *path = part_path(policy_dir, part);

        for (int64_t i = 0; i < o->n_parameters; i++) {
            const struct jrl_parameter *p = &o->parameters[i];

            tensors[i] = (struct jrl_tensor){ .name = p->name, .dtype = JRL_F32, .n_dims = p->n_dims, .n_elements = p->n_elements,
                                              .shape = { p->shape[0], p->shape[1] }, .data = arrays[part] + p->offset, .dev = o->dev };
        }
        rc = jrl_safetensors_write(path, tensors, o->n_parameters, NULL, err);
        free(path);
    }
    if (rc == JRL_OK)
        rc = jrl_fsync_folder(folder, err);
    free(folder);
    free(tensors);
    return rc;
}
