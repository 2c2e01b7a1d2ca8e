// Every memory request of a scan refused in turn: a clean error each time, nothing leaked, never another result.
#include "base/out.h"
#include "image_maker.h"
#include "sbom/sbom.h"
#include "tap.h"

#include <stdlib.h>

#define DEB(name) \
    "Package: " name "\\nStatus: install ok installed\\nVersion: 1\\nArchitecture: all\\nDepends: libc6\\n\\n"

static const char script[] = "l lib usr/lib\nr etc/os-release ID=debian\\nVERSION_ID=12\\n\n"
                             "r var/lib/dpkg/status " DEB("libc6") DEB("a") DEB("b")
                                 DEB("c") "\n"
                                          "r var/lib/dpkg/info/a.list /lib\\n/lib/1.egg-info\\n\n"
                                          "f lib/1.egg-info p1 1\nf blob p2 1\nh lib/2.egg-info blob\nh lib/3.egg-info "
                                          "lib/1.egg-info\nr lib/bad.egg-info x\n"
                                          "|\nf usr/lib/4.egg-info p4 1\nr lib/.wh.3.egg-info\nr opt/.wh..wh..opq\n"
                                          "r var/lib/dpkg/status " DEB("libc6") DEB("a") DEB("b") DEB("c") DEB("d")
                                              DEB("e") "\n"
                                                       "|\nf opt/5.egg-info p5 1\n";

static int document(struct st_mem *mem, const struct image_maker *im, char **ret, size_t *ret_n, struct st_err *err)
{
    int fds[IMAGE_LAYERS_MAX];
    const struct st_subject subject = {.name = ST_SV_INIT("test")};
    struct st_mem text_mem; // the text is not part of what is tried
    struct st_buf text;
    struct st_out out;
    if (image_fragments(mem, im, true, fds, err))
        return -1;
    st_mem_init(&text_mem, (size_t)16 << 20, -1);
    st_buf_init(&text, &text_mem);
    st_out_init_buf(&out, &text);
    struct st_sbom_options opts = {.mem = mem, .tool_version = ST_SV("0")};
    struct st_merge *m = st_merge_new(mem, &subject, fds, im->n, NULL, 0, true, err);
    int rc =
        m ? st_sbom_write(st_sbom_writer_find(ST_SV("cyclonedx-json")), st_merge_inventory(m), &opts, &out, err) : -1;
    if (st_out_finish(&out, rc ? NULL : err))
        rc = -1;
    st_merge_free(m);
    image_close(fds, im->n);
    if (rc == 0) {
        *ret = malloc(text.len + 1);
        if (!*ret)
            abort();
        memcpy(*ret, text.ptr, text.len);
        *ret_n = text.len;
    }
    st_buf_release(&text);
    st_mem_release(&text_mem);
    return rc;
}

int main(void)
{
    struct image_maker im;
    struct st_mem mem;
    struct st_err err = {0};
    char *want = NULL, *got;
    size_t want_n = 0, got_n;
    image_make(&im, script);
    st_mem_init(&mem, (size_t)64 << 20, -1);
    int rc = document(&mem, &im, &want, &want_n, &err);
    uint64_t total = mem.requests;
    TAP_OK(rc == 0 && want_n > 1000 && total > 20, "without refusal (%llu requests) %s", (unsigned long long)total,
           err.text);
    st_mem_release(&mem);
    unsigned long long wrong = 0, unclear = 0, left = 0, refused = 0;
    for (uint64_t n = 1; n <= total; n++) {
        st_mem_init(&mem, (size_t)64 << 20, -1);
        mem.fail_at = n;
        st_err_clear(&err);
        got = NULL;
        if (document(&mem, &im, &got, &got_n, &err) == 0) { // something optional was refused
            wrong += got_n != want_n || memcmp(got, want, want_n) != 0;
            free(got);
        } else {
            refused++;
            if (err.text[0] == 0 || (err.code != ST_E_MEMORY && err.code != ST_E_SPILL && err.code != ST_E_NOMEM)) {
                unclear++;
                printf("# request %llu: %s %s\n", (unsigned long long)n, st_err_word(err.code), err.text);
            }
        }
        left += mem.used != 0;
        mem.fail_at = 0;
        st_mem_release(&mem);
    }
    TAP_OK(wrong == 0, "never another result (%llu)", wrong);
    TAP_OK(unclear == 0, "every refusal is told as one (%llu of %llu are not)", unclear, refused);
    TAP_OK(left == 0, "nothing left in memory (%llu)", left);
    TAP_OK(refused > total / 2, "refusals are felt (%llu of %llu)", refused, (unsigned long long)total);
    free(want);
    image_free(&im);
    return tap_done();
}
