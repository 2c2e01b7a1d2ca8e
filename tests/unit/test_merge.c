// Layer semantics through the whole of layer -> fragment -> merge (OCI image-spec, layer.md "Applying Changesets").
#include "image_maker.h"
#include "tap.h"

#define DEB(name) "Package: " name "\\nStatus: install ok installed\\nVersion: 1\\nArchitecture: all\\n"
#define OS(id) "ID=" id "\\nVERSION_ID=1\\n"

static const struct {
    const char *name, *script, *want;
} cases[] = {
    {"one file", "f a/x.egg-info x 1", "x@1 0 a/x.egg-info\n"},
    {"./x, /x and a/../x are one file", "f ./x.egg-info x 1\n|\nf /x.egg-info x 2\n|\nf a/../x.egg-info x 3",
     "x@3 2 x.egg-info\n"},
    {"duplicate entry, last wins", "f x.egg-info x 1\nf x.egg-info x 2", "x@2 0 x.egg-info\n"},
    {"whiteout", "f a/x.egg-info x 1\n|\nr a/.wh.x.egg-info", ""},
    {"whiteout of an ancestor", "f a/b/x.egg-info x 1\n|\nr .wh.a", ""},
    {"whiteout of a name that only begins alike", "f ab/x.egg-info x 1\n|\nr .wh.a", "x@1 0 ab/x.egg-info\n"},
    {"whiteout in its own layer hides nothing", "f a/x.egg-info x 1\nr a/.wh.x.egg-info", "x@1 0 a/x.egg-info\n"},
    {"whiteout, then re-add", "f a/x.egg-info x 1\n|\nr .wh.a\nf a/x.egg-info x 2", "x@2 1 a/x.egg-info\n"},
    {"re-add, then whiteout", "f a/x.egg-info x 1\n|\nf a/x.egg-info x 2\nr .wh.a", "x@2 1 a/x.egg-info\n"},
    {"opaque", "f a/x.egg-info x 1\nf a/b/y.egg-info y 1\n|\nr a/.wh..wh..opq\nf a/z.egg-info z 1",
     "z@1 1 a/z.egg-info\n"},
    {"opaque mark behind the entries", "f a/x.egg-info x 1\n|\nf a/z.egg-info z 1\nr a/.wh..wh..opq",
     "z@1 1 a/z.egg-info\n"},
    {"opaque root", "f x.egg-info x 1\n|\nr .wh..wh..opq", ""},
    {"aufs metadata hides nothing", "f a/x.egg-info x 1\n|\nr a/.wh..wh.plnk", "x@1 0 a/x.egg-info\n"},
    {"directory entry over a directory", "f a/x.egg-info x 1\n|\nd a", "x@1 0 a/x.egg-info\n"},
    {"directory replaced by a file", "f a/x.egg-info x 1\n|\nr a text", ""},
    {"directory replaced in its own layer", "f a/x.egg-info x 1\nr a text", ""},
    {"directory replaced by a link", "f a/x.egg-info x 1\nf b/y.egg-info y 1\n|\nl a b", "y@1 0 b/y.egg-info\n"},
    {"file replaced by a directory", "f x.egg-info x 1\n|\nd x.egg-info", ""},
    {"file replaced by a link", "f x.egg-info x 1\n|\nl x.egg-info y", ""},
    {"hard link, interesting target", "f a.egg-info x 1\nh b.egg-info a.egg-info", "x@1 0 a.egg-info,b.egg-info\n"},
    {"hard link, uninteresting target", "f blob x 1\nh b.egg-info blob", "x@1 0 b.egg-info\n"},
    {"hard link keeps the bytes when the target is overwritten",
     "f a.egg-info x 1\nh b.egg-info a.egg-info\nf a.egg-info x 2", "x@1 0 b.egg-info\nx@2 0 a.egg-info\n"},
    {"uninteresting target overwritten behind the link", "f blob x 1\nh b.egg-info blob\nf blob x 2",
     "x@1 0 b.egg-info\n"},
    {"uninteresting target that comes twice before the link", "f blob x 1\nf blob x 2\nh b.egg-info blob",
     "x@2 0 b.egg-info\n"},
    {"target emptied before the link", "f a.egg-info x 1\nr a.egg-info \nh b.egg-info a.egg-info",
     "? format a.egg-info\n? format b.egg-info\n"},
    {"chain of links", "f a.egg-info x 1\nh b.egg-info a.egg-info\nh c.egg-info b.egg-info",
     "x@1 0 a.egg-info,b.egg-info,c.egg-info\n"},
    {"chain of uninteresting names", "f blob x 1\nh blob2 blob\nh c.egg-info blob2", "x@1 0 c.egg-info\n"},
    {"chain whose first name is overwritten", "f blob x 1\nh blob2 blob\nf blob x 2\nh c.egg-info blob2",
     "x@1 0 c.egg-info\n"},
    {"chain whose middle name is overwritten", "f blob x 1\nh blob2 blob\nf blob2 x 2\nh c.egg-info blob2",
     "x@2 0 c.egg-info\n"},
    {"interesting name, uninteresting name, interesting name", "f a.egg-info x 1\nh blob a.egg-info\nh c.egg-info blob",
     "x@1 0 a.egg-info,c.egg-info\n"},
    {"hard link into a lower layer", "f blob x 1\n|\nh b.egg-info blob", "? link b.egg-info\n"},
    {"target removed by an upper layer, link stays", "f a.egg-info x 1\nh b.egg-info a.egg-info\n|\nr .wh.a.egg-info",
     "x@1 0 b.egg-info\n"},
    {"usrmerge: lib over usr/lib", "l lib usr/lib\nf usr/lib/x.egg-info x 1\n|\nf lib/x.egg-info x 2",
     "x@2 1 usr/lib/x.egg-info\n"},
    {"usrmerge: usr/lib over lib", "l lib usr/lib\nf lib/x.egg-info x 1\n|\nf usr/lib/x.egg-info x 2",
     "x@2 1 usr/lib/x.egg-info\n"},
    {"usrmerge: whiteout through the alias", "l lib usr/lib\nf usr/lib/x.egg-info x 1\n|\nr lib/.wh.x.egg-info", ""},
    {"usrmerge: opaque through the alias", "l lib usr/lib\nf usr/lib/a/x.egg-info x 1\n|\nr lib/a/.wh..wh..opq", ""},
    {"usrmerge: absolute target", "l lib /usr/lib\nf usr/lib/x.egg-info x 1\n|\nf lib/x.egg-info x 2",
     "x@2 1 usr/lib/x.egg-info\n"},
    {"usrmerge: the link comes in an upper layer", "f lib/x.egg-info x 1\n|\nl lib usr/lib\nf lib/y.egg-info y 1",
     "y@1 1 usr/lib/y.egg-info\n"},
    {"link replaced by a directory", "l lib usr/lib\nf lib/x.egg-info x 1\n|\nd lib\nf lib/x.egg-info x 2",
     "x@1 0 usr/lib/x.egg-info\nx@2 1 lib/x.egg-info\n"},
    {"link made again in the same layer", "l a b\nf a/x.egg-info x 1\nl a c\nf a/y.egg-info y 1",
     "x@1 0 b/x.egg-info\ny@1 0 c/y.egg-info\n"},
    {"link under a directory that a file replaced", "l d/a b\nr d text\nd d\nf d/a/x.egg-info x 1",
     "x@1 0 d/a/x.egg-info\n"},
    {"a link reached through a link goes with its directory", "l s d\nl s/a b\n|\nr .wh.d\nf d/a/x.egg-info x 1",
     "x@1 1 d/a/x.egg-info\n"},
    {"link to a link", "l a b\nl b c\nf a/x.egg-info x 1\n|\nf c/x.egg-info x 2", "x@2 1 c/x.egg-info\n"},
    {"links in a circle", "l a b\nl b a\nf c/x.egg-info x 1\nf a/y.egg-info y 1",
     "x@1 0 c/x.egg-info\ny@1 0 a/y.egg-info\n"},
    {"link to itself", "l a a/b\nf c/x.egg-info x 1", "x@1 0 c/x.egg-info\n"},
    {"link above the root", "l a/b ../../../c\nf a/b/x.egg-info x 1\n|\nf c/x.egg-info x 2", "x@2 1 c/x.egg-info\n"},
    {"one package in two files", "f a/x.egg-info x 1\n|\nf b/x.egg-info x 1", "x@1 0 a/x.egg-info,b/x.egg-info\n"},
    {"introduced: a rewritten dpkg status",
     "r var/lib/dpkg/status " DEB("a") "\n|\nr var/lib/dpkg/status " DEB("a") "\\n" DEB(
         "b") "\n|\nr var/lib/dpkg/status " DEB("a") "\\n" DEB("b") "\\n" DEB("c"),
     "a@1 0 var/lib/dpkg/status\nb@1 1 var/lib/dpkg/status\nc@1 2 var/lib/dpkg/status\n"},
    {"introduced: gone and back counts from its return",
     "r var/lib/dpkg/status " DEB("a") "\\n" DEB("b") "\n|\nr var/lib/dpkg/status " DEB(
         "b") "\n|\nr var/lib/dpkg/status " DEB("a") "\\n" DEB("b"),
     "a@1 2 var/lib/dpkg/status\nb@1 0 var/lib/dpkg/status\n"},
    {"introduced: through whiteout and re-add in one layer",
     "r var/lib/dpkg/status " DEB("a") "\n|\nr var/lib/dpkg/.wh.status\nr var/lib/dpkg/status " DEB("a"),
     "a@1 0 var/lib/dpkg/status\n"},
    {"owner",
     "r var/lib/dpkg/status " DEB("o") "\nr var/lib/dpkg/info/o.list /.\\n/usr\\n/usr/x.egg-info\\n\n"
                                       "f usr/x.egg-info x 1",
     "o@1 0 var/lib/dpkg/status\nx@1 0 usr/x.egg-info owner=o\n"},
    {"owner through an alias",
     "l lib usr/lib\nr var/lib/dpkg/status " DEB(
         "o") "\n"
              "r var/lib/dpkg/info/o.list /.\\n/lib\\n/lib/x.egg-info\\n\nf usr/lib/x.egg-info x 1",
     "o@1 0 var/lib/dpkg/status\nx@1 0 usr/lib/x.egg-info owner=o\n"},
    {"owner's list removed",
     "r var/lib/dpkg/status " DEB("o") "\nr var/lib/dpkg/info/o.list /usr/x.egg-info\\n\n"
                                       "f usr/x.egg-info x 1\n|\nr var/lib/dpkg/info/.wh.o.list",
     "o@1 0 var/lib/dpkg/status\nx@1 0 usr/x.egg-info\n"},
    {"depends", "r var/lib/dpkg/status " DEB("a") "Depends: b (>= 1), c | d, nothere\\n\\n" DEB("b") "\\n" DEB("d"),
     "a@1 0 var/lib/dpkg/status needs=b,d\nb@1 0 var/lib/dpkg/status\nd@1 0 var/lib/dpkg/status\n"},
    {"os-release: etc goes before usr/lib", "r usr/lib/os-release " OS("low") "\nr etc/os-release " OS("high"),
     "distro high\n"},
    {"os-release: usr/lib alone", "l etc/os-release ../usr/lib/os-release\nr usr/lib/os-release " OS("low"),
     "distro low\n"},
    {"os-release: release files come last", "r etc/alpine-release 3.19.0\\n\nr usr/lib/os-release " OS("low"),
     "distro low\n"},
    {"os-release: removed", "r etc/os-release " OS("high") "\n|\nr etc/.wh.os-release", ""},
};

static void compare(struct st_mem *mem, const char *name, const char *script, const char *want)
{
    static char got[65536];
    struct image_maker im;
    struct st_err err = {0};
    image_make(&im, script);
    int rc = image_scan(mem, &im, true, true, got, sizeof got, &err);
    image_free(&im);
    if (!TAP_OK(rc == 0 && strcmp(got, want) == 0, "%s", name))
        printf("# error: %s\n# want: [%s]\n# got:  [%s]\n", rc ? err.text : "none", want, got);
}

// A pipe cannot be read twice: the link is named, the rest stands.
static void test_once(struct st_mem *mem)
{
    char got[4096];
    struct image_maker im;
    image_make(&im, "f blob x 1\nh b.egg-info blob\nf c.egg-info y 1");
    int rc = image_scan(mem, &im, false, true, got, sizeof got, NULL);
    image_free(&im);
    TAP_OK(rc == 0 && strcmp(got, "y@1 0 c.egg-info\n? link b.egg-info\n") == 0, "source that is read once");
}

// Cut short inside a header or a file's bytes: an error that says so. (At a header boundary an archive may end.)
#define BODY "Metadata-Version: 1.0\nName: x\nVersion: 1\n"

static void test_cut(struct st_mem *mem)
{
    char got[4096];
    struct image_maker im;
    int bad = 0;
    image_make(&im, "f a/x.egg-info x 1\nl b a\nh b/y.egg-info a/x.egg-info\nd c");
    size_t len = im.tar[0].len;
    for (size_t n = 1; n < 3 * 512; n += 37) {
        struct st_err err = {0};
        bool in_padding = n >= 512 + strlen(BODY) && n < 1024; // all of the file is there
        im.tar[0].len = n;
        int rc = image_scan(mem, &im, true, true, got, sizeof got, &err);
        if (n % 512 && !in_padding && (rc == 0 || err.code != ST_E_CORRUPT || err.text[0] == 0)) {
            bad++;
            printf("# cut at %zu: %s\n", n, rc ? err.text : "accepted");
        }
    }
    im.tar[0].len = len;
    image_free(&im);
    TAP_OK(bad == 0, "cut short inside a header or a file (%d wrong)", bad);
}

int main(void)
{
    struct st_mem mem;
    st_mem_init(&mem, (size_t)64 << 20, -1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        compare(&mem, cases[i].name, cases[i].script, cases[i].want);
    test_once(&mem);
    test_cut(&mem);
    TAP_OK(mem.used == 0, "nothing left in memory");
    st_mem_release(&mem);
    return tap_done();
}
