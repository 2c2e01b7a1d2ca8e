// The fragments of a scan's layers and where they are kept: the cache, and the checkpoints of the job.
#include "base/ckd.h"
#include "base/fd.h"
#include "scan/fragment_int.h"
#include "scan/scan_int.h"

#include <stdio.h>
#include <unistd.h>

int st_scan_out(struct st_scan *s, struct st_err *err)
{
    struct st_fragstore *store = s->cache.dirfd >= 0 ? &s->cache : &s->job;
    if (store->dirfd >= 0) {
        int fd = st_fragstore_temp(store, NULL);
        if (fd >= 0)
            return fd;
    }
    if (!s->opt->spill_dir)
        return st_err_set(err, ST_E_SPILL, "no directory for temporary files is writable");
    return st_fd_temp(s->opt->spill_dir, err);
}

static void checkpoint_name(size_t i, char ret[static ST_FRAGSTORE_NAME])
{
    char digits[24];
    snprintf(digits, sizeof digits, "%04zu", i);
    st_fragstore_name(digits, ret);
}

// Was it read by the table of contents that the manifest names?
static bool by_table(const struct st_scan *s, size_t i)
{
    const struct st_toc_place *p = &s->image.layers[i].toc;
    return p->kind != ST_TOC_NONE && strcmp(s->layers[i].stats.toc, p->digest) == 0;
}

int st_scan_take(struct st_scan *s, size_t i, int fd, struct st_err *err)
{
    if (st_frag_stats(&s->mem, fd, &s->layers[i].stats, err)) {
        close(fd);
        return -1;
    }
    s->fragments[i] = fd;
    s->profile.spilled = ST_MAX(s->profile.spilled, s->layers[i].stats.spilled);
    char name[ST_FRAGSTORE_NAME];
    if (s->cache.dirfd >= 0 && s->layers[i].stats.digest[0]) {
        st_fragstore_name(s->layers[i].stats.digest, name);
        st_fragstore_put(&s->cache, fd, name);
    } else if (s->cache.dirfd >= 0 && by_table(s, i)) {
        st_fragstore_toc_name(&s->image.layers[i].toc, name);
        st_fragstore_put(&s->cache, fd, name);
    }
    if (s->job.dirfd >= 0) {
        checkpoint_name(i, name);
        st_fragstore_put(&s->job, fd, name);
    }
    return 0;
}

int st_scan_check_digests(const struct st_scan *s, size_t i, struct st_err *err)
{
    const struct st_subject_layer *l = &s->image.subject.layers[i];
    const struct st_layer_stats *have = &s->layers[i].stats;
    struct st_sv blob = st_scan_hex(l->digest), diff = st_scan_hex(l->diff_id);
    struct st_sv have_blob = st_sv_of(have->digest), have_diff = have->diff_id[0] ? st_sv_of(have->diff_id) : have_blob;
    bool some = s->opt->verify != ST_VERIFY_NONE, both = s->opt->verify == ST_VERIFY_FULL;
    if (have->toc[0] && !both) // its digests are not known; that of its table is in the manifest, too
        return by_table(s, i) ? 0
                              : st_err_set(err, ST_E_CORRUPT, "layer %zu: it was read by another table of contents", i);
    if (blob.len && (some || have_blob.len) && !st_sv_eq(blob, have_blob))
        return st_err_set(err, ST_E_CORRUPT,
                          "layer %zu: blob digest does not match: expected sha256:" ST_SV_FMT
                          ", the bytes give sha256:" ST_SV_FMT,
                          i, ST_SV_ARG(blob), ST_SV_ARG(have_blob));
    if (diff.len && (both || (!blob.len && (some || have_diff.len))) && !st_sv_eq(diff, have_diff))
        return st_err_set(err, ST_E_CORRUPT,
                          "layer %zu: diff ID does not match: expected sha256:" ST_SV_FMT
                          ", the bytes give sha256:" ST_SV_FMT,
                          i, ST_SV_ARG(diff), ST_SV_ARG(have_diff));
    return 0;
}

// A fragment that was kept, if it is of these very bytes. One that is not makes room for the one that will be made now:
// a checkpoint of another blob under the same configuration, a cached layer whose diff ID nobody asked for then.
static bool take_kept(struct st_scan *s, size_t i, struct st_fragstore *store, const char *name)
{
    ST_AUTO_CLOSE int fd = st_fragstore_get(store, &s->mem, name);
    if (fd < 0)
        return false;
    if (st_frag_stats(&s->mem, fd, &s->layers[i].stats, NULL) || st_scan_check_digests(s, i, NULL)) {
        s->layers[i].stats = (struct st_layer_stats){0};
        st_fragstore_drop(store, name);
        return false;
    }
    s->fragments[i] = st_take_fd(&fd);
    return true;
}

bool st_scan_have_already(struct st_scan *s, size_t i)
{
    char name[ST_FRAGSTORE_NAME];
    struct st_sv hex = st_scan_hex(s->image.subject.layers[i].digest);
    for (size_t k = 0; k < i && hex.len; k++)
        if (st_sv_eq(s->image.subject.layers[k].digest, s->image.subject.layers[i].digest) &&
            s->layers[k].how != ST_LAYER_FOREIGN) {
            s->layers[i].how = ST_LAYER_SAME;
            s->layers[i].same_as = k;
            return true;
        }
    checkpoint_name(i, name);
    if (s->opt->resume && take_kept(s, i, &s->job, name)) {
        s->layers[i].how = ST_LAYER_RESUMED;
        return true;
    }
    if (!hex.len || s->opt->verify == ST_VERIFY_NONE)
        return false;
    st_fragstore_name(hex.ptr, name);
    bool have = take_kept(s, i, &s->cache, name);
    if (!have && s->image.layers[i].toc.kind != ST_TOC_NONE && s->opt->verify == ST_VERIFY_BLOB) {
        st_fragstore_toc_name(&s->image.layers[i].toc, name);
        have = take_kept(s, i, &s->cache, name);
    }
    if (have)
        s->layers[i].how = ST_LAYER_CACHED;
    return have;
}

void st_scan_open_stores(struct st_scan *s)
{
    struct st_err e = {0};
    if (s->opt->cache_dir && st_fragstore_open(s->opt->cache_dir, "layers", true, &s->cache, &e))
        st_scan_warn(s, "the layer cache cannot be used, the scan goes on without it");
    if (!s->opt->state_dir || s->image.subject.rootfs)
        return;
    st_fragstore_sweep(s->opt->state_dir, "jobs", ST_CHECKPOINT_AGE_MAX);
    struct st_sv id = st_scan_hex(s->image.subject.config_digest);
    if (s->opt->checkpoints)
        snprintf(s->job_sub, sizeof s->job_sub, "%s", s->opt->checkpoints);
    else
        snprintf(s->job_sub, sizeof s->job_sub, "jobs/%.*s", (int)ST_MIN(id.len, (size_t)ST_DIGEST_HEX),
                 id.ptr ? id.ptr : "");
    snprintf(s->state_dir, sizeof s->state_dir, "%s", s->opt->state_dir);
    if (!s->opt->resume)
        st_fragstore_remove(s->state_dir, s->job_sub);
    st_fragstore_open(s->state_dir, s->job_sub, true, &s->job, NULL);
}

void st_scan_forget(struct st_scan *s)
{
    if (s->job.dirfd >= 0)
        st_fragstore_remove(s->state_dir, s->job_sub);
    st_fragstore_close(&s->job);
}
