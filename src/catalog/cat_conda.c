// Conda packages as installed: conda-meta/NAME-VERSION-BUILD.json, one a package, in every environment.
#include "catalog/lang_int.h"

#include "base/ckd.h"

// Each installed file is in it with two digests, 400 bytes a file: the largest packages (10,000s of files) have some
// MB.
#define CONDA_MAX_SIZE (64 * ST_MIB)

struct conda {
    struct st_sv name, version, build, build_number, channel, subdir, fn, url, md5, sha256, noarch;
    struct st_lang_list licenses;
};

static const struct st_lang_member members[] = {
    ST_LANG_MEMBER("name", st_lang_string, conda, name),
    ST_LANG_MEMBER("version", st_lang_string, conda, version),
    ST_LANG_MEMBER("build", st_lang_string, conda, build),
    ST_LANG_MEMBER("build_number", st_lang_number, conda, build_number),
    ST_LANG_MEMBER("channel", st_lang_string, conda, channel),
    ST_LANG_MEMBER("subdir", st_lang_string, conda, subdir),
    ST_LANG_MEMBER("fn", st_lang_string, conda, fn),
    ST_LANG_MEMBER("url", st_lang_string, conda, url),
    ST_LANG_MEMBER("md5", st_lang_string, conda, md5),
    ST_LANG_MEMBER("sha256", st_lang_string, conda, sha256),
    ST_LANG_MEMBER("noarch", st_lang_string, conda, noarch),
    ST_LANG_MEMBER("license", st_lang_strings, conda, licenses),
};

// "https://conda.anaconda.org/t/TOKEN/conda-forge/linux-64" -> "conda-forge": the purl's channel is a name, and a
// private channel's URL holds credentials.
static struct st_sv channel_name(struct st_sv channel, struct st_sv subdir)
{
    while (channel.len && channel.ptr[channel.len - 1] == '/')
        channel.len--;
    struct st_sv last = st_sv_basename(channel);
    return last.len < channel.len && subdir.len && st_sv_eq(last, subdir) ? st_sv_basename(st_sv_dirname(channel))
                                                                          : last;
}

// The archive format is the file name's ending; older records have only the URL.
static struct st_sv archive_type(const struct conda *c)
{
    static const struct st_sv types[] = {ST_SV_INIT("conda"), ST_SV_INIT("tar.bz2")};
    struct st_sv file = c->fn.len ? c->fn : c->url;
    for (size_t i = 0; i < ST_LEN(types); i++)
        if (st_sv_ends(file, types[i]) && file.len > types[i].len && file.ptr[file.len - types[i].len - 1] == '.')
            return types[i];
    return ST_SV_NULL;
}

static int parse(struct st_parse *p, const struct st_view *v, struct st_err *err)
{
    struct conda c = {0};
    struct st_kv_list quals = {0}, meta = {0};
    if (st_lang_object(st_view_all(v), members, ST_LEN(members), &c, p->arena, err) ||
        st_lang_id(&c.name, &c.version, err))
        return -1;
    struct st_package pkg = {.type = ST_PKG_CONDA, .name = c.name, .version = c.version};
    pkg.licenses = (struct st_svs){c.licenses.at, c.licenses.n};
    st_kv_add(&quals, "build", st_lang_text(c.build));
    st_kv_add(&quals, "channel", st_lang_text(channel_name(c.channel, c.subdir)));
    st_kv_add(&quals, "subdir", st_lang_text(c.subdir));
    st_kv_add(&quals, "type", archive_type(&c));
    pkg.quals = (struct st_kvs){quals.at, quals.n};
    st_kv_add(&meta, "build", st_lang_text(c.build));
    st_kv_add(&meta, "build_number", st_lang_text(c.build_number));
    st_kv_add(&meta, "subdir", st_lang_text(c.subdir));
    st_kv_add(&meta, "noarch", st_lang_text(c.noarch));
    st_kv_add(&meta, "fn", st_lang_text(c.fn));
    st_kv_add(&meta, "md5", st_lang_text(c.md5));
    st_kv_add(&meta, "sha256", st_lang_text(c.sha256));
    pkg.meta = (struct st_kvs){meta.at, meta.n};
    return p->emit->package(p->emit->ctx, &pkg, err);
}

const struct st_cataloger st_cat_conda = {
    .name = "conda-meta-cataloger",
    .version = 1,
    .globs = (const char *const[]){"**/conda-meta/*.json", NULL},
    .need = ST_NEED_CONTENT,
    .max_size = CONDA_MAX_SIZE,
    .parse = parse,
};
