#include "catalog/java_meta.h"

#include "base/ckd.h"

// ---- MANIFEST.MF (JAR File Specification, "JAR Manifest") -------------------------------------------------

static const struct st_sv attributes[ST_MF_MAX] = {
#define ST_MF_ROW(id, name) [id] = ST_SV_INIT(name),
    ST_MANIFEST_ATTRIBUTES(ST_MF_ROW)
#undef ST_MF_ROW
};

// The value that begins in `first` and goes on in the lines of `rest` that start with a blank.
static int joined(struct st_sv first, struct st_sv *rest, struct st_arena *a, struct st_sv *ret, struct st_err *err)
{
    struct st_sv ahead = *rest, line;
    size_t n = first.len;
    while (ahead.len && ahead.ptr[0] == ' ' && st_sv_line(&ahead, &line))
        n += line.len - 1;
    if (n == first.len) {
        *ret = first;
        return 0;
    }
    char *out = st_arena_bytes(a, n, err);
    if (!out)
        return -1;
    memcpy(out, first.ptr, first.len);
    for (size_t at = first.len; rest->len && rest->ptr[0] == ' ' && st_sv_line(rest, &line); at += line.len - 1)
        memcpy(out + at, line.ptr + 1, line.len - 1);
    *ret = (struct st_sv){out, n};
    return 0;
}

int st_manifest_read(struct st_sv text, struct st_arena *a, struct st_manifest *ret, struct st_err *err)
{
    struct st_sv line, key, value;
    *ret = (struct st_manifest){.present = true};
    if (st_sv_starts(text, ST_SV("\xef\xbb\xbf")))
        text = st_sv_from(text, 3);
    while (st_sv_line(&text, &line)) {
        if (line.len == 0 || line.ptr[0] == ' ' || !st_sv_cut(line, ':', &key, &value))
            continue;
        for (size_t i = 0; i < ST_MF_MAX; i++)
            if (ret->at[i].len == 0 && st_sv_ieq(key, attributes[i])) {
                if (joined(value, &text, a, &ret->at[i], err))
                    return -1;
                ret->at[i] = st_sv_trim(ret->at[i]);
                break;
            }
    }
    return 0;
}

// ---- pom.properties -----------------------------------------------------------------------------------------

void st_pom_properties(struct st_sv text, struct st_pom *ret)
{
    struct st_sv line;
    while (st_sv_line(&text, &line)) {
        line = st_sv_trim(line);
        if (line.len == 0 || line.ptr[0] == '#' || line.ptr[0] == '!')
            continue;
        size_t i = 0;
        while (i < line.len && line.ptr[i] != '=' && line.ptr[i] != ':')
            i++;
        struct st_sv key = st_sv_trim(st_sv_sub(line, 0, i)), value = st_sv_trim(st_sv_from(line, i + 1));
        if (st_sv_eq(key, ST_SV("groupId")))
            ret->group = value;
        else if (st_sv_eq(key, ST_SV("artifactId")))
            ret->artifact = value;
        else if (st_sv_eq(key, ST_SV("version")))
            ret->version = value;
    }
}

// ---- pom.xml ----------------------------------------------------------------------------------------------

// A reader of elements and the text directly in them, enough for poms: no entities but the five of XML and numbers, no
// namespaces (prefixes are cut off), DTDs are passed over.
#define XML_DEPTH_MAX 64 // deeper elements are not looked at

struct xml {
    struct st_sv in;
    size_t pos;
    unsigned depth;
    struct st_sv path[XML_DEPTH_MAX]; // names of the open elements
};

enum xml_event { XML_END, XML_OPEN, XML_CLOSE, XML_TEXT };

static bool xml_skip_to(struct xml *x, struct st_sv what)
{
    size_t i = st_sv_search(st_sv_from(x->in, x->pos), what);
    x->pos = i == ST_SV_NPOS ? x->in.len : x->pos + i + what.len;
    return i != ST_SV_NPOS;
}

static struct st_sv xml_name(struct st_sv tag)
{
    size_t n = 0;
    while (n < tag.len && tag.ptr[n] != ' ' && tag.ptr[n] != '\t' && tag.ptr[n] != '\n' && tag.ptr[n] != '\r' &&
           tag.ptr[n] != '/')
        n++;
    tag = st_sv_sub(tag, 0, n);
    size_t colon = st_sv_rfind(tag, ':');
    return colon == ST_SV_NPOS ? tag : st_sv_from(tag, colon + 1);
}

static void xml_push(struct xml *x, struct st_sv name)
{
    if (x->depth < XML_DEPTH_MAX)
        x->path[x->depth] = name;
    x->depth++;
}

// An empty element is an OPEN without a CLOSE and does not count as open.
static enum xml_event xml_next(struct xml *x, struct st_sv *ret_text)
{
    while (x->pos < x->in.len) {
        struct st_sv rest = st_sv_from(x->in, x->pos);
        if (x->in.ptr[x->pos] != '<') {
            size_t n = st_sv_find(rest, '<');
            *ret_text = st_sv_trim(st_sv_sub(rest, 0, n));
            x->pos += ST_MIN(n, rest.len);
            if (ret_text->len)
                return XML_TEXT;
        } else if (st_sv_starts(rest, ST_SV("<!--"))) {
            xml_skip_to(x, ST_SV("-->"));
        } else if (st_sv_starts(rest, ST_SV("<![CDATA["))) {
            size_t from = x->pos + 9;
            bool ends = xml_skip_to(x, ST_SV("]]>"));
            *ret_text = st_sv_sub(x->in, from, x->pos - from - (ends ? 3 : 0));
            return XML_TEXT;
        } else if (st_sv_starts(rest, ST_SV("<?")) || st_sv_starts(rest, ST_SV("<!"))) {
            xml_skip_to(x, ST_SV(">"));
        } else {
            size_t end = st_sv_find(rest, '>');
            struct st_sv tag = st_sv_sub(rest, 1, end == ST_SV_NPOS ? rest.len : end - 1);
            x->pos += end == ST_SV_NPOS ? rest.len : end + 1;
            bool close = tag.len && tag.ptr[0] == '/', empty = tag.len && tag.ptr[tag.len - 1] == '/';
            if (close) {
                x->depth -= x->depth > 0;
                return XML_CLOSE;
            }
            if (!empty) {
                xml_push(x, xml_name(tag));
                return XML_OPEN;
            }
        }
    }
    return XML_END;
}

// Are the open elements exactly these ("project/parent/version")?
static bool xml_at(const struct xml *x, struct st_sv path)
{
    struct st_sv part;
    unsigned i = 0;
    while (st_sv_split(&path, '/', &part)) {
        if (i >= x->depth || i >= XML_DEPTH_MAX || !st_sv_eq(x->path[i], part))
            return false;
        i++;
    }
    return i == x->depth;
}

static int xml_unescape(struct st_sv s, struct st_arena *a, struct st_sv *ret, struct st_err *err)
{
    static const struct {
        struct st_sv entity;
        char c;
    } rows[] = {{ST_SV_INIT("&amp;"), '&'},
                {ST_SV_INIT("&lt;"), '<'},
                {ST_SV_INIT("&gt;"), '>'},
                {ST_SV_INIT("&quot;"), '"'},
                {ST_SV_INIT("&apos;"), '\''}};
    *ret = s;
    if (st_sv_find(s, '&') == ST_SV_NPOS)
        return 0;
    char *out = st_arena_bytes(a, s.len, err);
    size_t n = 0;
    if (!out)
        return -1;
    while (s.len) {
        char c = s.ptr[0];
        size_t used = 1;
        for (size_t i = 0; c == '&' && i < ST_LEN(rows); i++)
            if (st_sv_starts(s, rows[i].entity)) {
                c = rows[i].c;
                used = rows[i].entity.len;
                break;
            }
        out[n++] = c;
        s = st_sv_from(s, used);
    }
    *ret = (struct st_sv){out, n};
    return 0;
}

// The text of project/properties/NAME.
static struct st_sv xml_property(struct st_sv pom, struct st_sv name)
{
    struct xml x = {.in = pom};
    struct st_sv text;
    for (enum xml_event e; (e = xml_next(&x, &text)) != XML_END;)
        if (e == XML_TEXT && x.depth == 3 && st_sv_eq(x.path[2], name) && st_sv_eq(x.path[1], ST_SV("properties")))
            return text;
    return ST_SV("");
}

struct pom_fields {
    struct st_sv group, artifact, version, parent_group, parent_version, license, license_url;
};

// "${name}" as a whole; anything else with a '$' in it cannot be known.
static struct st_sv resolve(struct st_sv value, struct st_sv pom, const struct pom_fields *f)
{
    static const struct {
        struct st_sv name;
        size_t field; // offsets into struct pom_fields: itself, else the parent's
        size_t parent;
    } rows[] = {
        {ST_SV_INIT("project.version"), offsetof(struct pom_fields, version),
         offsetof(struct pom_fields, parent_version)},
        {ST_SV_INIT("pom.version"), offsetof(struct pom_fields, version), offsetof(struct pom_fields, parent_version)},
        {ST_SV_INIT("project.parent.version"), offsetof(struct pom_fields, parent_version),
         offsetof(struct pom_fields, parent_version)},
        {ST_SV_INIT("project.groupId"), offsetof(struct pom_fields, group), offsetof(struct pom_fields, parent_group)},
        {ST_SV_INIT("project.parent.groupId"), offsetof(struct pom_fields, parent_group),
         offsetof(struct pom_fields, parent_group)},
        {ST_SV_INIT("project.artifactId"), offsetof(struct pom_fields, artifact),
         offsetof(struct pom_fields, artifact)},
    };
    if (st_sv_find(value, '$') == ST_SV_NPOS)
        return value;
    if (!st_sv_starts(value, ST_SV("${")) || !st_sv_ends(value, ST_SV("}")))
        return ST_SV("");
    struct st_sv name = st_sv_sub(value, 2, value.len - 3), found = ST_SV("");
    for (size_t i = 0; i < ST_LEN(rows); i++)
        if (st_sv_eq(name, rows[i].name)) {
            found = *(const struct st_sv *)((const char *)f + rows[i].field);
            if (found.len == 0)
                found = *(const struct st_sv *)((const char *)f + rows[i].parent);
        }
    if (found.len == 0)
        found = xml_property(pom, name);
    return st_sv_find(found, '$') == ST_SV_NPOS ? found : ST_SV("");
}

static int end_license(struct pom_fields *f, struct st_arena *a, struct st_pom *ret, struct st_err *err)
{
    struct st_sv s = f->license.len ? f->license : f->license_url;
    f->license = f->license_url = ST_SV("");
    if (s.len == 0 || ret->n_licenses == ST_POM_LICENSES_MAX)
        return 0;
    return xml_unescape(s, a, &ret->licenses[ret->n_licenses++], err);
}

int st_pom_xml(struct st_sv text, struct st_arena *a, struct st_pom *ret, struct st_err *err)
{
    static const struct {
        struct st_sv path;
        size_t field;
    } rows[] = {
        {ST_SV_INIT("project/groupId"), offsetof(struct pom_fields, group)},
        {ST_SV_INIT("project/artifactId"), offsetof(struct pom_fields, artifact)},
        {ST_SV_INIT("project/version"), offsetof(struct pom_fields, version)},
        {ST_SV_INIT("project/parent/groupId"), offsetof(struct pom_fields, parent_group)},
        {ST_SV_INIT("project/parent/version"), offsetof(struct pom_fields, parent_version)},
        {ST_SV_INIT("project/licenses/license/name"), offsetof(struct pom_fields, license)},
        {ST_SV_INIT("project/licenses/license/url"), offsetof(struct pom_fields, license_url)},
    };
    struct xml x = {.in = text};
    struct pom_fields f = {.group = ST_SV("")};
    struct st_sv s;
    for (enum xml_event e; (e = xml_next(&x, &s)) != XML_END;) {
        if (e == XML_CLOSE && xml_at(&x, ST_SV("project/licenses")) && end_license(&f, a, ret, err))
            return -1;
        for (size_t i = 0; e == XML_TEXT && x.depth > 1 && x.depth < 5 && i < ST_LEN(rows); i++) {
            struct st_sv *to = (struct st_sv *)((char *)&f + rows[i].field);
            if (to->len == 0 && xml_at(&x, rows[i].path))
                *to = s;
        }
    }
    ret->group = resolve(f.group.len ? f.group : f.parent_group, text, &f);
    ret->artifact = resolve(f.artifact, text, &f);
    ret->version = resolve(f.version.len ? f.version : f.parent_version, text, &f);
    return 0;
}

// ---- names ------------------------------------------------------------------------------------------------

static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool st_java_is_id(struct st_sv s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!letter(s.ptr[i]) && !digit(s.ptr[i]) && s.ptr[i] != '.' && s.ptr[i] != '_' && s.ptr[i] != '-')
            return false;
    return s.len > 0;
}

bool st_java_is_version(struct st_sv s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] <= ' ' || s.ptr[i] == 127 || strchr("\"'$/\\<>{}@?*", s.ptr[i]))
            return false;
    return s.len > 0;
}

// Words that belong to a version when they stand between two numbers ("1.0-beta-2"); other words belong to the name
// ("log4j-1.2-api-2.17").
static bool is_qualifier(struct st_sv word)
{
    static const struct st_sv words[] = {
        ST_SV_INIT("alpha"), ST_SV_INIT("beta"), ST_SV_INIT("rc"),    ST_SV_INIT("cr"),       ST_SV_INIT("m"),
        ST_SV_INIT("pre"),   ST_SV_INIT("ea"),   ST_SV_INIT("final"), ST_SV_INIT("ga"),       ST_SV_INIT("sp"),
        ST_SV_INIT("b"),     ST_SV_INIT("rev"),  ST_SV_INIT("r"),     ST_SV_INIT("snapshot"), ST_SV_INIT("build"),
        ST_SV_INIT("jre"),   ST_SV_INIT("jdk"),  ST_SV_INIT("java"),  ST_SV_INIT("patch"),    ST_SV_INIT("dev"),
        ST_SV_INIT("v"),     ST_SV_INIT("p"),    ST_SV_INIT("fix"),   ST_SV_INIT("release"),  ST_SV_INIT("redhat"),
    };
    for (size_t i = 0; i < ST_LEN(words); i++)
        if (st_sv_ieq(word, words[i]))
            return true;
    return false;
}

// Where the version begins that follows a '-' in s, from `from` on.
static size_t version_start(struct st_sv s, size_t from)
{
    for (size_t i = from; i + 2 < s.len + 1; i++)
        if (s.ptr[i] == '-' && i > 0 && i + 1 < s.len && digit(s.ptr[i + 1]))
            return i + 1;
    return ST_SV_NPOS;
}

struct st_java_name st_java_name(struct st_sv path)
{
    struct st_java_name n = {.version = ST_SV("")};
    struct st_sv base = st_sv_basename(path);
    size_t dot = st_sv_rfind(base, '.');
    n.stem = st_sv_sub(base, 0, dot);
    n.ext = dot == ST_SV_NPOS ? ST_SV("") : st_sv_from(base, dot + 1);
    n.name = n.stem;
    size_t at = version_start(n.stem, 0), next;
    while (at != ST_SV_NPOS && (next = version_start(n.stem, at)) != ST_SV_NPOS) {
        struct st_sv between = st_sv_sub(n.stem, at, next - 1 - at), part;
        bool name = false;
        while (st_sv_split(&between, '-', &part))
            name |= part.len && letter(part.ptr[0]) && !is_qualifier(part);
        if (!name)
            break;
        at = next;
    }
    if (at == ST_SV_NPOS) { // OSGi: name_version
        size_t bar = st_sv_rfind(n.stem, '_');
        if (bar != ST_SV_NPOS && bar > 0 && bar + 1 < n.stem.len && digit(n.stem.ptr[bar + 1]))
            at = bar + 1;
    }
    if (at != ST_SV_NPOS) {
        n.name = st_sv_sub(n.stem, 0, at - 1);
        n.version = st_sv_from(n.stem, at);
    }
    return n;
}

// Published without pom.properties, and no other group publishes an artifact of the name.
struct st_sv st_java_known_group(struct st_sv artifact)
{
    static const struct {
        struct st_sv artifact, group;
    } rows[] = {
#define SPRING(name) {ST_SV_INIT(name), ST_SV_INIT("org.springframework")}
        SPRING("spring-aop"),
        SPRING("spring-aspects"),
        SPRING("spring-beans"),
        SPRING("spring-context"),
        SPRING("spring-context-indexer"),
        SPRING("spring-context-support"),
        SPRING("spring-core"),
        SPRING("spring-core-test"),
        SPRING("spring-expression"),
        SPRING("spring-instrument"),
        SPRING("spring-jcl"),
        SPRING("spring-jdbc"),
        SPRING("spring-jms"),
        SPRING("spring-messaging"),
        SPRING("spring-orm"),
        SPRING("spring-oxm"),
        SPRING("spring-r2dbc"),
        SPRING("spring-test"),
        SPRING("spring-tx"),
        SPRING("spring-web"),
        SPRING("spring-webflux"),
        SPRING("spring-webmvc"),
        SPRING("spring-webmvc-portlet"),
        SPRING("spring-websocket"),
#undef SPRING
        {ST_SV_INIT("spring-boot"), ST_SV_INIT("org.springframework.boot")},
        {ST_SV_INIT("spring-boot-actuator"), ST_SV_INIT("org.springframework.boot")},
        {ST_SV_INIT("spring-boot-actuator-autoconfigure"), ST_SV_INIT("org.springframework.boot")},
        {ST_SV_INIT("spring-boot-autoconfigure"), ST_SV_INIT("org.springframework.boot")},
        {ST_SV_INIT("spring-boot-jarmode-layertools"), ST_SV_INIT("org.springframework.boot")},
        {ST_SV_INIT("spring-boot-loader"), ST_SV_INIT("org.springframework.boot")},
        {ST_SV_INIT("spring-security-config"), ST_SV_INIT("org.springframework.security")},
        {ST_SV_INIT("spring-security-core"), ST_SV_INIT("org.springframework.security")},
        {ST_SV_INIT("spring-security-crypto"), ST_SV_INIT("org.springframework.security")},
        {ST_SV_INIT("spring-security-web"), ST_SV_INIT("org.springframework.security")},
        {ST_SV_INIT("bcpg-jdk18on"), ST_SV_INIT("org.bouncycastle")},
        {ST_SV_INIT("bcpkix-jdk15on"), ST_SV_INIT("org.bouncycastle")},
        {ST_SV_INIT("bcpkix-jdk18on"), ST_SV_INIT("org.bouncycastle")},
        {ST_SV_INIT("bcprov-jdk15on"), ST_SV_INIT("org.bouncycastle")},
        {ST_SV_INIT("bcprov-jdk18on"), ST_SV_INIT("org.bouncycastle")},
        {ST_SV_INIT("bcutil-jdk18on"), ST_SV_INIT("org.bouncycastle")},
        {ST_SV_INIT("derby"), ST_SV_INIT("org.apache.derby")},
        {ST_SV_INIT("kotlin-reflect"), ST_SV_INIT("org.jetbrains.kotlin")},
        {ST_SV_INIT("kotlin-stdlib"), ST_SV_INIT("org.jetbrains.kotlin")},
        {ST_SV_INIT("kotlin-stdlib-common"), ST_SV_INIT("org.jetbrains.kotlin")},
        {ST_SV_INIT("kotlin-stdlib-jdk7"), ST_SV_INIT("org.jetbrains.kotlin")},
        {ST_SV_INIT("kotlin-stdlib-jdk8"), ST_SV_INIT("org.jetbrains.kotlin")},
        {ST_SV_INIT("derbyLocale_*"), ST_SV_INIT("org.apache.derby")},
        {ST_SV_INIT("derbyclient"), ST_SV_INIT("org.apache.derby")},
        {ST_SV_INIT("derbynet"), ST_SV_INIT("org.apache.derby")},
        {ST_SV_INIT("derbytools"), ST_SV_INIT("org.apache.derby")},
        {ST_SV_INIT("lucene-analysis-*"), ST_SV_INIT("org.apache.lucene")},
        {ST_SV_INIT("lucene-analyzers-*"), ST_SV_INIT("org.apache.lucene")},
        {ST_SV_INIT("lucene-core"), ST_SV_INIT("org.apache.lucene")},
        {ST_SV_INIT("lucene-queryparser"), ST_SV_INIT("org.apache.lucene")},
        {ST_SV_INIT("micrometer-core"), ST_SV_INIT("io.micrometer")},
        {ST_SV_INIT("scala-compiler"), ST_SV_INIT("org.scala-lang")},
        {ST_SV_INIT("scala-library"), ST_SV_INIT("org.scala-lang")},
        {ST_SV_INIT("scala-reflect"), ST_SV_INIT("org.scala-lang")},
        {ST_SV_INIT("tomcat-embed-core"), ST_SV_INIT("org.apache.tomcat.embed")},
        {ST_SV_INIT("tomcat-embed-el"), ST_SV_INIT("org.apache.tomcat.embed")},
        {ST_SV_INIT("tomcat-embed-websocket"), ST_SV_INIT("org.apache.tomcat.embed")},
    };
    for (size_t i = 0; i < ST_LEN(rows); i++) {
        struct st_sv prefix = st_sv_sub(rows[i].artifact, 0, rows[i].artifact.len - 1);
        if (st_sv_ends(rows[i].artifact, ST_SV("*")) ? st_sv_starts(artifact, prefix)
                                                     : st_sv_eq(artifact, rows[i].artifact))
            return rows[i].group;
    }
    return ST_SV("");
}
