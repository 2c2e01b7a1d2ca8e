// The resolver over sets of documents (text form: tests/image_set.h), its wire form and what is printed of an image.
// With
// "--write-corpus DIR" the sets are written as seeds of image_fuzz and image_decode_fuzz.
#include "base/fd.h"
#include "image/image_int.h"
#include "image/inspect.h"
#include "image_set.h"
#include "tap.h"

#include <fcntl.h>

#define HEX0 "0000000000000000000000000000000000000000000000000000000000000000"
#define HEX1 "1111111111111111111111111111111111111111111111111111111111111111"
#define LAYOUT "@ oci-layout\n{\"imageLayoutVersion\":\"1.0.0\"}\n"
#define LAYER(id) "@ blob:" id "\nlayer " id "\n"
#define CONFIG(id, arch, diffs, more)                           \
    "@ blob:" id "\n{\"os\":\"linux\",\"architecture\":\"" arch \
    "\",\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[" diffs "]}" more "}\n"
#define DIFF "\"sha256:" HEX0 "\""
#define DESC(type, id) "{\"mediaType\":\"" type "\",\"digest\":\"${sha256 blob:" id "}\",\"size\":${size blob:" id "}"
#define T_LAYER "application/vnd.oci.image.layer.v1.tar"
#define T_CONFIG "application/vnd.oci.image.config.v1+json"
#define T_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define T_INDEX "application/vnd.oci.image.index.v1+json"
#define MANIFEST(id, config, layers)                                  \
    "@ blob:" id "\n{\"schemaVersion\":2,\"mediaType\":\"" T_MANIFEST \
    "\",\"config\":" DESC(T_CONFIG, config) "},\"layers\":[" layers "]}\n"
#define NESTED(id, entries) \
    "@ blob:" id "\n{\"schemaVersion\":2,\"mediaType\":\"" T_INDEX "\",\"manifests\":[" entries "]}\n"
#define INDEX(entries) "@ index.json\n{\"schemaVersion\":2,\"manifests\":[" entries "]}\n"
#define M(id, more) DESC(T_MANIFEST, id) more "}"
#define I(id, more) DESC(T_INDEX, id) more "}"
#define L(id) DESC(T_LAYER, id) "}"
#define NAMED(name) ",\"annotations\":{\"org.opencontainers.image.ref.name\":\"" name "\"}"
#define ON(os, arch) ",\"platform\":{\"os\":\"" os "\",\"architecture\":\"" arch "\"}"
#define ONV(arch, v) ",\"platform\":{\"os\":\"linux\",\"architecture\":\"" arch "\",\"variant\":\"" v "\"}"

#define ONE LAYER("a") CONFIG("c", "amd64", DIFF, "") MANIFEST("m", "c", L("a"))
#define TWO ONE CONFIG("c2", "arm64", DIFF, "") MANIFEST("m2", "c2", L("a"))
#define ARM                                          \
    LAYER("a")                                       \
    CONFIG("c5", "arm", DIFF, ",\"variant\":\"v5\"") \
    MANIFEST("m5", "c5", L("a"))                     \
    CONFIG("c6", "arm", DIFF, ",\"variant\":\"v6\"") \
    MANIFEST("m6", "c6", L("a")) INDEX(M("m5", ONV("arm", "v5")) "," M("m6", ONV("arm", "v6")))
#define DOCKER                             \
    "@ l0/layer.tar\nlayer zero\n" CONFIG( \
        "c", "amd64", DIFF,                \
        "") "@ c.json\n{\"os\":\"linux\",\"architecture\":\"amd64\",\"rootfs\":{\"diff_ids\":[" DIFF "]}}\n"

struct test {
    const char *name, *set;
    const char *platform, *tag;
    enum st_image_pin pin;
    enum st_err_code code; // ST_E_NONE: resolves
    const char *text;      // part of the error, or of the first warning; or NULL
    const char *arch;      // of the image
    size_t layers;
};

static const struct test tests[] = {
    {"one image", LAYOUT ONE INDEX(M("m", NAMED("v1"))), .arch = "amd64", .layers = 1},
    {"its tag", LAYOUT ONE INDEX(M("m", NAMED("v1"))), .tag = "v1", .arch = "amd64", .layers = 1},
    {"its ordinal", LAYOUT ONE INDEX(M("m", NAMED("v1"))), .tag = "@0", .arch = "amd64", .layers = 1},
    {"another tag", LAYOUT ONE INDEX(M("m", NAMED("v1"))), .tag = "v2", .code = ST_E_INPUT, .text = "there are: v1"},
    {"no layout file", ONE INDEX(M("m", "")), .arch = "amd64", .layers = 1, .text = "no oci-layout"},
    {"layout of version 2", "@ oci-layout\n{\"imageLayoutVersion\":\"2.0.0\"}\n" ONE INDEX(M("m", "")),
     .code = ST_E_CORRUPT, .text = "'2.0.0'"},
    {"nothing", "", .code = ST_E_INPUT, .text = "neither"},
    {"nothing, pinned OCI", DOCKER "@ manifest.json\n[]\n", .pin = ST_PIN_OCI, .code = ST_E_INPUT,
     .text = "index.json"},
    {"nothing, pinned docker", LAYOUT ONE INDEX(M("m", "")), .pin = ST_PIN_DOCKER, .code = ST_E_INPUT,
     .text = "manifest.json"},
    {"empty index", LAYOUT INDEX(""), .code = ST_E_INPUT, .text = "no image"},
    {"index without manifests", LAYOUT "@ index.json\n{}\n", .code = ST_E_INPUT, .text = "no image"},
    {"index is not JSON", LAYOUT "@ index.json\n{\"manifests\":[}\n", .code = ST_E_CORRUPT, .text = "index.json"},
    {"index is an array", LAYOUT "@ index.json\n[]\n", .code = ST_E_CORRUPT, .text = "object"},
    {"a manifest as index.json", LAYOUT LAYER("a") "@ index.json\n{\"layers\":[" L("a") "]}\n", .code = ST_E_CORRUPT,
     .text = "not an index"},
    {"manifests is null", LAYOUT "@ index.json\n{\"manifests\":null}\n", .code = ST_E_INPUT, .text = "no image"},

    {"two platforms, host is one", LAYOUT TWO INDEX(M("m2", ON("linux", "arm64")) "," M("m", ON("linux", "amd64"))),
     .arch = "amd64", .layers = 1},
    {"two platforms, one wanted", LAYOUT TWO INDEX(M("m", ON("linux", "amd64")) "," M("m2", ON("linux", "arm64"))),
     .platform = "linux/arm64", .arch = "arm64", .layers = 1},
    {"arm64/v8 is arm64", LAYOUT TWO INDEX(M("m", ON("linux", "amd64")) "," M("m2", ON("linux", "arm64"))),
     .platform = "linux/arm64/v8", .arch = "arm64", .layers = 1},
    {"aarch64 is arm64", LAYOUT TWO INDEX(M("m", ON("linux", "amd64")) "," M("m2", ON("linux", "arm64"))),
     .platform = "linux/aarch64", .arch = "arm64", .layers = 1},
    {"platforms that only the configs tell", LAYOUT TWO INDEX(M("m", "") "," M("m2", "")), .platform = "linux/arm64",
     .arch = "arm64", .layers = 1},
    {"a platform that is not there", LAYOUT TWO INDEX(M("m", ON("linux", "amd64")) "," M("m2", ON("linux", "arm64"))),
     .platform = "linux/s390x", .code = ST_E_INPUT, .text = "there are: linux/amd64, linux/arm64"},
    {"the only one, another platform wanted", LAYOUT ONE INDEX(M("m", "")), .platform = "linux/arm64",
     .code = ST_E_INPUT, .text = "is linux/amd64, not linux/arm64"},
    {"the only one, not the host's", LAYOUT TWO INDEX(M("m2", ON("linux", "arm64"))), .arch = "arm64", .layers = 1},
    {"two, none the host's", LAYOUT ARM, .code = ST_E_INPUT, .text = "linux/arm/v5, linux/arm/v6"},
    {"arm without variant: an older one", LAYOUT ARM, .platform = "linux/arm", .arch = "arm", .layers = 1},
    {"arm/v7 is not v6", LAYOUT ARM, .platform = "linux/arm/v7", .code = ST_E_INPUT,
     .text = "no image for platform linux/arm/v7"},
    {"attestations are not images",
     LAYOUT ONE CONFIG("c3", "amd64", DIFF, ",\"created\":\"x\"") MANIFEST("att", "c3", "")
         INDEX(M("m", ON("linux", "amd64")) "," M("att", ON("unknown", "unknown")) "," M(
             "att", ",\"annotations\":{\"vnd.docker.reference.type\":\"attestation-manifest\"}")),
     .arch = "amd64", .layers = 1},
    {"a platform that was not copied",
     LAYOUT ONE INDEX("{\"mediaType\":\"" T_MANIFEST "\",\"digest\":\"sha256:" HEX1
                      "\",\"size\":3" ON("linux", "arm64") "}," M("m", ON("linux", "amd64"))),
     .arch = "amd64", .layers = 1},
    {"a platform that was not copied is wanted",
     LAYOUT ONE INDEX("{\"mediaType\":\"" T_MANIFEST "\",\"digest\":\"sha256:" HEX1
                      "\",\"size\":3" ON("linux", "arm64") "}," M("m", ON("linux", "amd64"))),
     .platform = "linux/arm64", .code = ST_E_CORRUPT, .text = "missing blob"},
    {"index says another platform", LAYOUT ONE INDEX(M("m", ON("linux", "arm64"))), .arch = "amd64", .layers = 1,
     .text = "the config linux/amd64"},

    {"nested index",
     LAYOUT TWO NESTED("n", M("m", ON("linux", "amd64")) "," M("m2", ON("linux", "arm64"))) INDEX(I("n", NAMED("x"))),
     .arch = "amd64", .layers = 1},
    {"nested index, its tag",
     LAYOUT TWO NESTED("n", M("m", ON("linux", "amd64")) "," M("m2", ON("linux", "arm64"))) INDEX(I("n", NAMED("x"))),
     .tag = "x", .platform = "linux/arm64", .arch = "arm64", .layers = 1},
    {"index without a media type",
     LAYOUT ONE NESTED("n", M("m", "")) INDEX("{\"digest\":\"${sha256 blob:n}\",\"size\":${size blob:n}}"),
     .arch = "amd64", .layers = 1},
    {"8 indexes deep",
     LAYOUT ONE NESTED("1", M("m", "")) NESTED("2", I("1", "")) NESTED("3", I("2", "")) NESTED("4", I("3", ""))
         NESTED("5", I("4", "")) NESTED("6", I("5", "")) NESTED("7", I("6", "")) INDEX(I("7", "")),
     .arch = "amd64", .layers = 1},
    {"10 indexes deep",
     LAYOUT ONE NESTED("1", M("m", "")) NESTED("2", I("1", "")) NESTED("3", I("2", "")) NESTED("4", I("3", ""))
         NESTED("5", I("4", "")) NESTED("6", I("5", "")) NESTED("7", I("6", "")) NESTED("8", I("7", ""))
             NESTED("9", I("8", "")) INDEX(I("9", "")),
     .code = ST_E_LIMIT, .text = "nested deeper"},
    {"an index that names itself",
     LAYOUT INDEX("{\"mediaType\":\"" T_INDEX "\",\"digest\":\"sha256:" HEX1
                  "\",\"size\":10}") "@ blobs/sha256/" HEX1 "\n{\"manifests\":[{\"mediaType\":\"" T_INDEX
                                     "\",\"digest\":\"sha256:" HEX1 "\",\"size\":10}]}\n",
     .code = ST_E_CORRUPT, .text = "has"},
    {"a manifest called an index", LAYOUT ONE INDEX(I("m", "")), .code = ST_E_CORRUPT, .text = "names no manifests"},
    {"an index called a manifest", LAYOUT ONE NESTED("n", M("m", "")) INDEX(M("n", "")), .code = ST_E_CORRUPT,
     .text = "not an image manifest"},
    {"entry of an unknown type",
     LAYOUT ONE INDEX("{\"mediaType\":\"text/plain\",\"digest\":\"sha256:" HEX1 "\",\"size\":1}," M("m", "")),
     .arch = "amd64", .layers = 1, .text = "text/plain"},
    {"schema 1 by type",
     LAYOUT ONE INDEX(
         "{\"mediaType\":\"application/vnd.docker.distribution.manifest.v1+prettyjws\",\"digest\":\"sha256:" HEX1
         "\",\"size\":1}"),
     .code = ST_E_FAILED, .text = "schema 1"},
    {"schema 1 by content", LAYOUT "@ blob:s\n{\"schemaVersion\":1,\"fsLayers\":[]}\n" INDEX(M("s", "")),
     .code = ST_E_FAILED, .text = "schema 1"},

    {"two names", LAYOUT TWO INDEX(M("m", NAMED("a")) "," M("m2", NAMED("b"))), .code = ST_E_INPUT, .text = "a, b"},
    {"two names, one wanted", LAYOUT TWO INDEX(M("m", NAMED("a")) "," M("m2", NAMED("b"))), .tag = "b", .arch = "arm64",
     .layers = 1},
    {"two names of one image", LAYOUT ONE INDEX(M("m", NAMED("a")) "," M("m", NAMED("b"))), .arch = "amd64",
     .layers = 1},
    {"short name",
     LAYOUT ONE INDEX(M("m", ",\"annotations\":{\"io.containerd.image.name\":\"docker.io/library/web:latest\"}")),
     .tag = "web", .arch = "amd64", .layers = 1},

    {"digest that climbs",
     LAYOUT INDEX("{\"mediaType\":\"" T_MANIFEST "\",\"digest\":\"sha256:../../etc/passwd\",\"size\":1}"),
     .code = ST_E_CORRUPT, .text = "bad digest 'sha256:../../etc/passwd'"},
    {"digest in capitals",
     LAYOUT INDEX(
         "{\"mediaType\":\"" T_MANIFEST
         "\",\"digest\":\"sha256:A111111111111111111111111111111111111111111111111111111111111111\",\"size\":1}"),
     .code = ST_E_CORRUPT, .text = "bad digest"},
    {"no digest", LAYOUT INDEX("{\"mediaType\":\"" T_MANIFEST "\",\"size\":1}"), .code = ST_E_CORRUPT,
     .text = "bad digest ''"},
    {"sha512", LAYOUT INDEX("{\"mediaType\":\"" T_MANIFEST "\",\"digest\":\"sha512:" HEX0 HEX1 "\",\"size\":1}"),
     .code = ST_E_FAILED, .text = "sha512 is not supported"},
    {"wrong digest of the manifest",
     LAYOUT INDEX("{\"mediaType\":\"" T_MANIFEST "\",\"digest\":\"sha256:" HEX1 "\",\"size\":3}") "@ blobs/sha256/" HEX1
                                                                                                  "\n{}\n",
     .code = ST_E_CORRUPT, .text = "wrong digest: manifest sha256:1111"},
    {"wrong size of the manifest",
     LAYOUT ONE INDEX("{\"mediaType\":\"" T_MANIFEST "\",\"digest\":\"${sha256 blob:m}\",\"size\":7}"),
     .code = ST_E_CORRUPT, .text = "not the 7"},
    {"missing manifest", LAYOUT INDEX("{\"mediaType\":\"" T_MANIFEST "\",\"digest\":\"sha256:" HEX1 "\",\"size\":2}"),
     .code = ST_E_CORRUPT, .text = "(no blobs/sha256/" HEX1 ")"},
    {"manifest without size", LAYOUT ONE INDEX("{\"mediaType\":\"" T_MANIFEST "\",\"digest\":\"${sha256 blob:m}\"}"),
     .code = ST_E_CORRUPT, .text = "no size"},
    {"manifest that says 5 MiB",
     LAYOUT ONE INDEX("{\"mediaType\":\"" T_MANIFEST "\",\"digest\":\"${sha256 blob:m}\",\"size\":5242880}"),
     .code = ST_E_LIMIT, .text = "manifest is larger than 4 MiB"},
    {"manifest that has 5 MiB",
     LAYOUT "@ blob:m\n{${repeat 5242880}}\n" INDEX("{\"mediaType\":\"" T_MANIFEST
                                                    "\",\"digest\":\"${sha256 blob:m}\",\"size\":100}"),
     .code = ST_E_LIMIT, .text = "manifest is larger than 4 MiB"},
    {"index.json of 5 MiB", LAYOUT "@ index.json\n{${repeat 5242880}}\n", .code = ST_E_LIMIT,
     .text = "index is larger than 4 MiB: index.json"},
    {"negative size", LAYOUT INDEX("{\"mediaType\":\"" T_MANIFEST "\",\"digest\":\"sha256:" HEX1 "\",\"size\":-1}"),
     .code = ST_E_CORRUPT, .text = "size in bytes"},

    {"layer without size",
     LAYOUT LAYER("a") CONFIG("c", "amd64", DIFF, "") MANIFEST("m", "c", "{\"digest\":\"${sha256 blob:a}\"}")
         INDEX(M("m", "")),
     .code = ST_E_CORRUPT, .text = "manifest has no size for layer 0"},
    {"config without size",
     LAYOUT LAYER("a")
         CONFIG("c", "amd64", DIFF,
                "") "@ blob:m\n{\"config\":{\"digest\":\"${sha256 blob:c}\"},\"layers\":[]}\n" INDEX(M("m", "")),
     .code = ST_E_CORRUPT, .text = "manifest has no size for its config"},
    {"layer of another size",
     LAYOUT LAYER("a") CONFIG("c", "amd64", DIFF, "") MANIFEST("m", "c", "{\"digest\":\"${sha256 blob:a}\",\"size\":1}")
         INDEX(M("m", "")),
     .code = ST_E_CORRUPT, .text = "not the 1 of its descriptor"},
    {"missing layer",
     LAYOUT CONFIG("c", "amd64", DIFF, "") MANIFEST("m", "c", "{\"digest\":\"sha256:" HEX1 "\",\"size\":1}")
         INDEX(M("m", "")),
     .code = ST_E_CORRUPT, .text = "missing blob: layer 0 sha256:" HEX1 " (no blobs/sha256/" HEX1 ")"},
    {"missing config",
     LAYOUT LAYER("a") "@ blob:m\n{\"config\":{\"digest\":\"sha256:" HEX1
                       "\",\"size\":1},\"layers\":[" L("a") "]}\n" INDEX(M("m", "")),
     .code = ST_E_CORRUPT, .text = "missing blob: config"},
    {"a document as layer", LAYOUT CONFIG("c", "amd64", DIFF, "") MANIFEST("m", "c", L("c")) INDEX(M("m", "")),
     .code = ST_E_CORRUPT, .text = "is a JSON document"},
    {"a layer as config", LAYOUT LAYER("a") MANIFEST("m", "a", "") INDEX(M("m", "")), .code = ST_E_CORRUPT,
     .text = "not a JSON document"},
    {"sizes that overflow",
     LAYOUT CONFIG("c", "amd64", DIFF "," DIFF, "")
         MANIFEST("m", "c",
                  "{\"urls\":[\"x\"],\"digest\":\"sha256:" HEX1
                  "\",\"size\":9223372036854775807},{\"urls\":[\"x\"],\"digest\":\"sha256:" HEX1
                  "\",\"size\":9223372036854775807}") INDEX(M("m", "")),
     .code = ST_E_CORRUPT, .text = "8 EiB"},
    {"foreign layer",
     LAYOUT CONFIG("c", "amd64", DIFF, "") MANIFEST(
         "m", "c",
         "{\"mediaType\":\"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip\",\"digest\":\"sha256:" HEX1
         "\",\"size\":9}") INDEX(M("m", "")),
     .arch = "amd64", .layers = 1},
    {"nondistributable layer",
     LAYOUT CONFIG("c", "amd64", DIFF, "") MANIFEST(
         "m", "c",
         "{\"mediaType\":\"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip\",\"digest\":\"sha256:" HEX1
         "\",\"size\":9}") INDEX(M("m", "")),
     .arch = "amd64", .layers = 1},
    {"the same layer twice",
     LAYOUT LAYER("a") CONFIG("c", "amd64", DIFF "," DIFF, "") MANIFEST("m", "c", L("a") "," L("a")) INDEX(M("m", "")),
     .arch = "amd64", .layers = 2},
    {"no layers", LAYOUT CONFIG("c", "amd64", "", "") MANIFEST("m", "c", "") INDEX(M("m", "")), .arch = "amd64",
     .layers = 0},
    {"fewer diff IDs", LAYOUT LAYER("a") CONFIG("c", "amd64", "", "") MANIFEST("m", "c", L("a")) INDEX(M("m", "")),
     .code = ST_E_CORRUPT, .text = "0 diff_ids, the manifest 1 layers"},
    {"more diff IDs",
     LAYOUT LAYER("a") CONFIG("c", "amd64", DIFF "," DIFF, "") MANIFEST("m", "c", L("a")) INDEX(M("m", "")),
     .code = ST_E_CORRUPT, .text = "2 diff_ids"},
    {"bad diff ID",
     LAYOUT LAYER("a") CONFIG("c", "amd64", "\"md5:1\"", "") MANIFEST("m", "c", L("a")) INDEX(M("m", "")),
     .code = ST_E_CORRUPT, .text = "diff_id of layer 0: bad digest"},
    {"longer history",
     LAYOUT LAYER("a") CONFIG("c", "amd64", DIFF, ",\"history\":[{\"created_by\":\"one\"},{\"created_by\":\"two\"}]")
         MANIFEST("m", "c", L("a")) INDEX(M("m", "")),
     .arch = "amd64", .layers = 1, .text = "history"},
    {"shorter history",
     LAYOUT LAYER("a") CONFIG("c", "amd64", DIFF, ",\"history\":[{\"empty_layer\":true}]") MANIFEST("m", "c", L("a"))
         INDEX(M("m", "")),
     .arch = "amd64", .layers = 1, .text = "history"},
    {"config without platform",
     LAYOUT LAYER("a") "@ blob:c\n{\"rootfs\":{\"diff_ids\":[" DIFF "]}}\n" MANIFEST("m", "c", L("a"))
         INDEX(M("m", "")),
     .layers = 1, .arch = "", .text = "no platform"},
    {"layers are no array",
     LAYOUT CONFIG("c", "amd64", DIFF, "") "@ blob:m\n{\"config\":" DESC(T_CONFIG,
                                                                         "c") "},\"layers\":{}}\n" INDEX(M("m", "")),
     .code = ST_E_CORRUPT, .text = "expected an array"},
    {"an artifact", LAYOUT "@ blob:c\n{}\n" MANIFEST("m", "c", "") INDEX(M("m", "")), .layers = 0, .arch = "",
     .text = "no platform"},

    {"docker-archive",
     DOCKER "@ manifest.json\n[{\"Config\":\"c.json\",\"RepoTags\":[\"web:1\"],\"Layers\":[\"l0/layer.tar\"]}]\n",
     .arch = "amd64", .layers = 1},
    {"docker-archive, its tag",
     DOCKER
     "@ manifest.json\n[{\"Config\":\"c.json\",\"RepoTags\":[\"web:latest\"],\"Layers\":[\"./l0//layer.tar\"]}]\n",
     .tag = "web", .arch = "amd64", .layers = 1},
    {"docker-archive, layer through a link",
     DOCKER "@ link:l1/layer.tar\n../l0/layer.tar\n@ "
            "manifest.json\n[{\"Config\":\"c.json\",\"RepoTags\":null,\"Layers\":[\"l1/layer.tar\"]}]\n",
     .arch = "amd64", .layers = 1},
    {"docker-archive, link in a circle",
     DOCKER "@ link:l1/layer.tar\n../l2/layer.tar\n@ link:l2/layer.tar\n../l1/layer.tar\n@ "
            "manifest.json\n[{\"Config\":\"c.json\",\"Layers\":[\"l1/layer.tar\"]}]\n",
     .code = ST_E_CORRUPT, .text = "missing blob: layer 0"},
    {"docker-archive, absolute link",
     DOCKER
     "@ link:l1/layer.tar\n/l0/layer.tar\n@ manifest.json\n[{\"Config\":\"c.json\",\"Layers\":[\"l1/layer.tar\"]}]\n",
     .code = ST_E_CORRUPT, .text = "missing blob"},
    {"docker-archive, missing layer",
     DOCKER "@ manifest.json\n[{\"Config\":\"c.json\",\"Layers\":[\"l9/layer.tar\"]}]\n", .code = ST_E_CORRUPT,
     .text = "(no l9/layer.tar)"},
    {"docker-archive, foreign layer",
     DOCKER "@ manifest.json\n[{\"Config\":\"c.json\",\"Layers\":[\"l9/layer.tar\"],\"LayerSources\":{" DIFF
            ":{\"size\":1}}}]\n",
     .arch = "amd64", .layers = 1},
    {"docker-archive, missing config",
     DOCKER "@ manifest.json\n[{\"Config\":\"d.json\",\"Layers\":[\"l0/layer.tar\"]}]\n", .code = ST_E_CORRUPT,
     .text = "missing blob: config"},
    {"docker-archive, forged config",
     DOCKER "@ " HEX1 ".json\n{}\n@ manifest.json\n[{\"Config\":\"" HEX1 ".json\",\"Layers\":[]}]\n",
     .code = ST_E_CORRUPT, .text = "wrong digest: config"},
    {"docker-archive, two images",
     DOCKER "@ d.json\n{\"os\":\"linux\",\"architecture\":\"arm64\"}\n@ "
            "manifest.json\n[{\"Config\":\"c.json\",\"RepoTags\":[\"a:1\"],\"Layers\":[\"l0/"
            "layer.tar\"]},{\"Config\":\"d.json\",\"RepoTags\":[\"b:1\"],\"Layers\":[]}]\n",
     .code = ST_E_INPUT, .text = "a:1, b:1"},
    {"docker-archive, the second image",
     DOCKER "@ d.json\n{\"os\":\"linux\",\"architecture\":\"arm64\"}\n@ "
            "manifest.json\n[{\"Config\":\"c.json\",\"RepoTags\":[\"a:1\"],\"Layers\":[\"l0/"
            "layer.tar\"]},{\"Config\":\"d.json\",\"RepoTags\":[\"b:1\"],\"Layers\":[]}]\n",
     .tag = "b:1", .arch = "arm64", .layers = 0},
    {"docker-archive, by ordinal",
     DOCKER "@ d.json\n{\"os\":\"linux\",\"architecture\":\"arm64\"}\n@ "
            "manifest.json\n[{\"Config\":\"c.json\",\"RepoTags\":[\"a:1\"],\"Layers\":[\"l0/"
            "layer.tar\"]},{\"Config\":\"d.json\",\"RepoTags\":[\"b:1\"],\"Layers\":[]}]\n",
     .tag = "@1", .arch = "arm64", .layers = 0},
    {"docker-archive, no such tag",
     DOCKER "@ manifest.json\n[{\"Config\":\"c.json\",\"RepoTags\":[\"a:1\"],\"Layers\":[\"l0/layer.tar\"]}]\n",
     .tag = "b", .code = ST_E_INPUT, .text = "there are: a:1"},
    {"docker-archive, no image", DOCKER "@ manifest.json\n[]\n", .code = ST_E_INPUT, .text = "names no image"},
    {"docker-archive, an object", DOCKER "@ manifest.json\n{}\n", .code = ST_E_CORRUPT, .text = "expected an array"},
    {"both kinds: OCI",
     LAYOUT TWO INDEX(M("m2", "")) DOCKER "@ manifest.json\n[{\"Config\":\"c.json\",\"Layers\":[\"l0/layer.tar\"]}]\n",
     .arch = "arm64", .layers = 1},
    {"both kinds, pinned",
     LAYOUT TWO INDEX(M("m2", "")) DOCKER "@ manifest.json\n[{\"Config\":\"c.json\",\"Layers\":[\"l0/layer.tar\"]}]\n",
     .pin = ST_PIN_DOCKER, .arch = "amd64", .layers = 1},
};

static const struct st_platform host = {ST_SV_INIT("linux"), ST_SV_INIT("amd64"), {0}};

static int resolve(const struct test *t, struct st_members *m, struct st_arena *a, struct st_image *img,
                   struct st_err *err)
{
    struct st_resolve how = {.host = host, .tag = st_sv_of(t->tag), .pin = t->pin};
    if (t->platform && st_platform_parse(st_sv_of(t->platform), &how.want, err))
        return -1;
    if (image_set_load(m, a, st_sv_of(t->set), err))
        return -1;
    struct st_blobs blobs = st_members_blobs(m);
    return st_image_resolve(&blobs, &how, a, img, err);
}

static bool has(struct st_sv s, const char *part)
{
    return st_sv_search(s, st_sv_of(part)) != ST_SV_NPOS;
}

static void judge(const struct test *t, int rc, const struct st_image *img, const struct st_err *err)
{
    if (t->code || rc) {
        TAP_OK(rc < 0 && err->code == t->code && (!t->text || has(st_sv_of(err->text), t->text)), "%s: %s: %s", t->name,
               st_err_word(err->code), err->text);
        return;
    }
    TAP_OK(st_sv_eq(img->subject.architecture, st_sv_of(t->arch)) && img->subject.n_layers == t->layers, "%s", t->name);
    if (t->text)
        TAP_OK(img->warnings.n == 1 && has(img->warnings.at[0], t->text), "%s: warns", t->name);
    else
        TAP_OK(img->warnings.n == 0, "%s: no warning", t->name);
}

static void run(const struct test *t, uint64_t fail_at, uint64_t *ret_requests)
{
    struct st_mem mem;
    st_mem_init(&mem, 64 << 20, -1);
    mem.fail_at = fail_at;
    struct st_arena a;
    st_arena_init(&a, &mem);
    struct st_err err = {0};
    struct st_image img;
    struct st_members *m = st_members_new(&mem, &err);
    int rc = m ? resolve(t, m, &a, &img, &err) : -1;
    if (!fail_at)
        judge(t, rc, &img, &err);
    *ret_requests = mem.requests;
    st_members_free(m);
    st_arena_release(&a);
    st_mem_release(&mem);
}

static void test_sets(void)
{
    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++) {
        uint64_t n = 0, unused;
        run(&tests[i], 0, &n);
        for (uint64_t k = 1; k <= n; k++) // every refused allocation: no leak, no crash
            run(&tests[i], k, &unused);
    }
}

// ---- the wire

static struct st_subject_layer wire_subject[] = {
    {ST_SV_INIT("sha256:" HEX0), ST_SV_INIT("sha256:" HEX1), ST_SV_INIT(T_LAYER), ST_SV_INIT("RUN x"), 7},
    {ST_SV_INIT("sha256:" HEX1), ST_SV_INIT("sha256:" HEX0), ST_SV_INIT(""), ST_SV_INIT(""), 3u << 30},
};
static struct st_image_layer wire_layers[] = {
    {{ST_BLOB_RANGE, 512, 7}, ST_SV_INIT("blobs/sha256/" HEX0), false},
    {{ST_BLOB_ABSENT, 0, 0}, ST_SV_INIT(""), true},
};
static const struct st_sv wire_texts[] = {ST_SV_INIT("one"), ST_SV_INIT("two")};
static const struct st_kv wire_labels[] = {{ST_SV_INIT("key"), ST_SV_INIT("a\xff\"\n")}};

static struct st_image wire_image(void)
{
    return (struct st_image){
        .kind = ST_IMAGE_OCI,
        .subject = {.name = ST_SV("oci:x"),
                    .tags = {wire_texts, 2},
                    .manifest_digest = ST_SV("sha256:" HEX0),
                    .config_digest = ST_SV("sha256:" HEX1),
                    .media_type = ST_SV(T_MANIFEST),
                    .os = ST_SV("linux"),
                    .architecture = ST_SV("arm"),
                    .variant = ST_SV("v7"),
                    .size = (3ull << 30) + 7 + 100,
                    .labels = {wire_labels, 1},
                    .layers = wire_subject,
                    .n_layers = 2},
        .layers = wire_layers,
        .created = ST_SV("2024-01-01T00:00:00Z"),
        .config_size = 100,
        .warnings = {wire_texts, 1},
    };
}

static bool encode_fails(struct st_mem *mem, const struct st_image *img)
{
    struct st_buf b;
    struct st_arena a;
    struct st_image back;
    struct st_err err = {0};
    st_buf_init(&b, mem);
    st_arena_init(&a, mem);
    bool fails = st_image_encode(img, &b, NULL) == 0 && st_image_decode(st_buf_sv(&b), &a, &back, &err) < 0 &&
                 err.code == ST_E_CORRUPT;
    st_arena_release(&a);
    st_buf_release(&b);
    return fails;
}

static void test_wire(struct st_mem *mem, struct st_arena *a)
{
    struct st_image img = wire_image(), back;
    struct st_buf b, again;
    struct st_err err = {0};
    st_buf_init(&b, mem);
    st_buf_init(&again, mem);
    TAP_OK(st_image_encode(&img, &b, &err) == 0 && st_image_decode(st_buf_sv(&b), a, &back, &err) == 0, "wire: %s",
           err.text);
    TAP_OK(st_image_encode(&back, &again, &err) == 0 && st_sv_eq(st_buf_sv(&b), st_buf_sv(&again)), "wire: same bytes");
    TAP_OK(back.layers[1].foreign && back.subject.layers[0].size == 7 && back.subject.size == img.subject.size,
           "wire: fields");
    size_t bad = 0;
    for (size_t n = 0; n < b.len; n++)
        bad += st_image_decode(st_sv_sub(st_buf_sv(&b), 0, n), a, &back, NULL) < 0;
    TAP_OK(bad == b.len, "wire: every truncation is refused");
    st_buf_addc(&b, 0, NULL);
    TAP_OK(st_image_decode(st_buf_sv(&b), a, &back, NULL) < 0, "wire: a byte too many is refused");
    st_buf_release(&b);
    st_buf_release(&again);
    img.kind = ST_IMAGE_KIND_MAX;
    TAP_OK(encode_fails(mem, &img), "wire: unknown kind");
    img = wire_image();
    img.subject.config_digest = ST_SV("sha256:../../x");
    TAP_OK(encode_fails(mem, &img), "wire: bad digest");
    struct st_image_layer saved = wire_layers[0];
    static const struct {
        const char *name;
        struct st_image_layer layer;
    } bad_layers[] = {
        {"absent, not foreign", {{ST_BLOB_ABSENT, 0, 0}, ST_SV_INIT(""), false}},
        {"a table of contents without a digest",
         {{ST_BLOB_REMOTE, 0, 7}, ST_SV_INIT("x"), false, {.kind = ST_TOC_ESTARGZ, .digest = "0123"}}},
        {"a tree in an image", {{ST_BLOB_TREE, 0, 7}, ST_SV_INIT("x"), false}},
        {"a kept document", {{ST_BLOB_KEPT, 0, 7}, ST_SV_INIT("x"), false}},
        {"another size", {{ST_BLOB_RANGE, 0, 8}, ST_SV_INIT("x"), false}},
        {"a range that overflows", {{ST_BLOB_RANGE, UINT64_MAX, 7}, ST_SV_INIT("x"), false}},
        {"no name", {{ST_BLOB_FILE, 0, 7}, ST_SV_INIT(""), false}},
    };
    for (size_t i = 0; i < sizeof bad_layers / sizeof bad_layers[0]; i++) {
        img = wire_image();
        wire_layers[0] = bad_layers[i].layer;
        TAP_OK(encode_fails(mem, &img), "wire: %s", bad_layers[i].name);
    }
    wire_layers[0] = saved;
}

// ---- output

static bool prints(struct st_mem *mem, struct st_arena *a, const struct st_inspect *in, bool table, const char *part)
{
    struct st_buf b;
    struct st_out o;
    st_buf_init(&b, mem);
    st_out_init_buf(&o, &b);
    struct st_err err = {0};
    int rc = table ? st_inspect_table(in, a, &o, &err) : st_inspect_json(in, a, &o, &err);
    rc |= st_out_finish(&o, &err);
    bool found = rc == 0 && has(st_buf_sv(&b), part);
    if (!found)
        printf("# not in:\n# %.*s\n", (int)b.len, b.ptr);
    st_buf_release(&b);
    return found;
}

static void test_output(struct st_mem *mem, struct st_arena *a)
{
    struct st_image img = wire_image();
    struct st_layer_counts counts[] = {{true, 1000, 60000}, {true, 5, 50000}};
    struct st_inspect in = {.image = &img, .counts = counts, .sort = ST_SORT_SIZE};
    TAP_OK(prints(mem, a, &in, false, "\"fileCount\": 110000"), "files are added up");
    TAP_OK(prints(mem, a, &in, false, "\"runbook\": \"scanner-oom\""), "over 2 GiB: runbook");
    TAP_OK(prints(mem, a, &in, false, "\"layer-file-count\""), "over 50,000 files in a layer");
    TAP_OK(prints(mem, a, &in, false, "\"layers\": [\n    {\n      \"index\": 1,"), "largest layer first");
    TAP_OK(prints(mem, a, &in, true, "3.0 GiB (3,221,225,579 bytes)"), "table: size");
    TAP_OK(prints(mem, a, &in, true, "110,000"), "table: files");
    in.sort = ST_SORT_FILES;
    TAP_OK(prints(mem, a, &in, false, "\"layers\": [\n    {\n      \"index\": 0,"), "most files first");
    counts[1].known = false;
    TAP_OK(prints(mem, a, &in, false, "\"not-read\""), "a layer that was not read");
    TAP_OK(prints(mem, a, &in, false, "\"uncompressedSize\": null"), "is not counted");
    in.counts = NULL;
    TAP_OK(prints(mem, a, &in, true, "not counted"), "table: nothing was read");
    enum st_layer_sort s;
    struct st_err err = {0};
    TAP_OK(st_layer_sort_parse(ST_SV("file-count"), &s, &err) == 0 && s == ST_SORT_FILES, "sort by file-count");
    TAP_OK(st_layer_sort_parse(ST_SV("files"), &s, &err) < 0 && err.code == ST_E_USAGE, "sort by something else");
    TAP_OK(st_image_rootfs(a, &img, &err) == 0, "a directory");
    in = (struct st_inspect){.image = &img};
    TAP_OK(prints(mem, a, &in, false, "\"kind\": \"rootfs\""), "a directory is printed");
}

static void test_platform(void)
{
    static const struct {
        const char *text;
        int rc;
    } rows[] = {{"linux/amd64", 0}, {"linux/arm/v7", 0}, {"linux", -1}, {"linux/", -1}, {"/amd64", -1},
                {"a/b/c/d", -1},    {"linux/a b", -1},   {"a/b/", -1},  {"", -1},       {"windows/amd64", 0}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct st_platform p;
        TAP_OK(st_platform_parse(st_sv_of(rows[i].text), &p, NULL) == rows[i].rc, "platform '%s'", rows[i].text);
    }
    TAP_OK(st_platform_host().os.len && st_platform_host().arch.len, "the host has one");
}

static void test_guess(void)
{
    char zeros[512] = {0};
    TAP_OK(st_member_guess(ST_SV("index.json"), 0, ST_SV("")) == ST_MEMBER_DOCUMENT, "index.json is a document");
    TAP_OK(st_member_guess(ST_SV("x/json"), 9, ST_SV(" {\"a\":1}")) == ST_MEMBER_DOCUMENT, "JSON is a document");
    TAP_OK(st_member_guess(ST_SV("x"), 5u << 20, ST_SV("{")) == ST_MEMBER_IGNORE, "large JSON is nothing");
    TAP_OK(st_member_guess(ST_SV("x"), 99, ST_SV("\x1f\x8b\x08")) == ST_MEMBER_LAYER, "gzip is a layer");
    TAP_OK(st_member_guess(ST_SV("x"), 1024, st_sv_mem(zeros, 512)) == ST_MEMBER_LAYER, "an empty tar is a layer");
    TAP_OK(st_member_guess(ST_SV("x/VERSION"), 3, ST_SV("1.0")) == ST_MEMBER_IGNORE, "VERSION is nothing");
}

static void write_file(const char *dir, const char *kind, size_t i, const void *p, size_t n, int pick)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s-%02zu", dir, kind, i);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    unsigned char c = (unsigned char)pick;
    if (fd >= 0 && pick >= 0)
        st_fd_write(fd, &c, 1);
    if (fd >= 0)
        st_fd_write(fd, p, n);
    close(fd);
}

static int write_corpus(const char *dir)
{
    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++) {
        const struct test *t = &tests[i];
        int pick = '0';                 // 48: no pin
        if (strstr(t->set, "${repeat")) // megabytes slow the fuzzer down
            continue;
        while (pick % 3 != (int)t->pin || !(pick & 4) != !t->platform || !(pick & 8) != !t->tag)
            pick++;
        write_file(dir, "set", i, t->set, strlen(t->set), pick);
    }
    return 0;
}

static int write_decode_corpus(const char *dir)
{
    struct st_mem mem;
    struct st_buf b;
    st_mem_init(&mem, 1 << 20, -1);
    st_buf_init(&b, &mem);
    struct st_image img = wire_image();
    if (st_image_encode(&img, &b, NULL) == 0)
        write_file(dir, "image", 0, b.ptr, b.len, -1);
    write_file(dir, "image", 1, b.ptr, b.len / 2, -1);
    st_buf_release(&b);
    st_mem_release(&mem);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && !strcmp(argv[1], "--write-corpus"))
        return write_corpus(argv[2]);
    if (argc == 3 && !strcmp(argv[1], "--write-decode-corpus"))
        return write_decode_corpus(argv[2]);
    struct st_mem mem;
    st_mem_init(&mem, 16 << 20, -1);
    struct st_arena a;
    st_arena_init(&a, &mem);
    test_sets();
    test_wire(&mem, &a);
    test_output(&mem, &a);
    test_platform();
    test_guess();
    st_arena_release(&a);
    st_mem_release(&mem);
    return tap_done();
}
