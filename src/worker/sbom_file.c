// SBOMs into files that nobody ever sees half of.
#include "worker/sbom_file.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define ASIDE ".stella-partial"

int st_sbom_file_options(struct st_mem *mem, struct st_sbom_options *ret, struct st_err *err)
{
    *ret = (struct st_sbom_options){.mem = mem, .tool_version = ST_SV(ST_VERSION)};
    const char *epoch = getenv("SOURCE_DATE_EPOCH");
    if (!epoch || !*epoch)
        return 0;
    ret->has_date = true;
    if (!st_sv_u64(st_sv_of(epoch), 10, &ret->date) || ret->date > ST_SBOM_DATE_MAX)
        return st_err_set(err, ST_E_USAGE, "invalid SOURCE_DATE_EPOCH '%.40s' (seconds since 1970)", epoch);
    return 0;
}

int st_sbom_file_print(const char *format, const struct st_inventory *inv, const struct st_sbom_options *opt,
                       struct st_out *out, struct st_err *err)
{
    const struct st_sbom_writer *w = st_sbom_writer_find(st_sv_of(format));
    if (!w)
        return st_err_set(err, ST_E_INTERNAL, "no writer for %s", format);
    return st_sbom_write(w, inv, opt, out, err);
}

int st_sbom_file_open(struct st_sbom_file *f, const char *path, struct st_err *err)
{
    struct stat st;
    f->special = stat(path, &st) == 0 && !S_ISREG(st.st_mode);
    if (snprintf(f->aside, sizeof f->aside, "%s%s", path, f->special ? "" : ASIDE) >= (int)sizeof f->aside)
        return st_err_set(err, ST_E_INPUT, "file name too long: %.200s", path);
    if (!f->special)
        unlink(f->aside);
    f->fd = open(f->aside, O_WRONLY | O_CREAT | O_CLOEXEC | (f->special ? 0 : O_EXCL | O_NOFOLLOW), 0666);
    return f->fd < 0 ? st_err_sys(err, "cannot write %s", path) : 0;
}

void st_sbom_file_drop(struct st_sbom_file *f)
{
    if (f->fd >= 0) {
        close(f->fd);
        if (!f->special)
            unlink(f->aside);
    }
    f->fd = -1;
}

int st_sbom_file_keep(struct st_sbom_file *f, const char *path, struct st_err *err)
{
    if (!f->special && rename(f->aside, path))
        return st_err_sys(err, "cannot write %s", path);
    close(f->fd);
    f->fd = -1;
    return 0;
}

int st_sbom_file_write(struct st_sbom_file *f, const char *path, const char *format, const struct st_inventory *inv,
                       const struct st_sbom_options *opt, bool sync, struct st_err *err)
{
    struct st_out out;
    st_out_init_fd(&out, f->fd);
    int rc = st_sbom_file_print(format, inv, opt, &out, err);
    if (st_out_finish(&out, rc ? NULL : err))
        rc = rc ? rc : st_err_wrap(err, "%s", path);
    if (rc == 0 && sync && fsync(f->fd))
        rc = st_err_sys(err, "cannot write %s", path);
    return rc ? rc : st_sbom_file_keep(f, path, err);
}
