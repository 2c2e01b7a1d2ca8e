// The records that the scan is about: what a cataloger emits, a fragment stores and a writer prints.
// Plain data: every view is borrowed from whoever filled the record and valid for the call only.
#ifndef ST_INVENTORY_PACKAGE_H
#define ST_INVENTORY_PACKAGE_H

#include "base/sv.h"

// id, type word (as syft-json and the table print it), purl type, language, "database": the package was
// read from a distribution's package database (it can own files, and has declared dependencies).
// The order is part of the fragment format: append only, and bump ST_FRAGMENT_VERSION on a change.
#define ST_PKG_TYPES(X)                                          \
    X(ST_PKG_DEB, "deb", "deb", "", true)                        \
    X(ST_PKG_APK, "apk", "apk", "", true)                        \
    X(ST_PKG_RPM, "rpm", "rpm", "", true)                        \
    X(ST_PKG_ALPM, "alpm", "alpm", "", true)                     \
    X(ST_PKG_PORTAGE, "portage", "portage", "", true)            \
    X(ST_PKG_OPKG, "opkg", "opkg", "", true)                     \
    X(ST_PKG_NIX, "nix", "nix", "", false)                       \
    X(ST_PKG_NPM, "npm", "npm", "javascript", false)             \
    X(ST_PKG_PYPI, "python", "pypi", "python", false)            \
    X(ST_PKG_MAVEN, "java-archive", "maven", "java", false)      \
    X(ST_PKG_GOLANG, "go-module", "golang", "go", false)         \
    X(ST_PKG_CARGO, "rust-crate", "cargo", "rust", false)        \
    X(ST_PKG_GEM, "gem", "gem", "ruby", false)                   \
    X(ST_PKG_NUGET, "dotnet", "nuget", "dotnet", false)          \
    X(ST_PKG_COMPOSER, "php-composer", "composer", "php", false) \
    X(ST_PKG_CONDA, "conda", "conda", "python", false)           \
    X(ST_PKG_GENERIC, "binary", "generic", "", false)

enum st_pkg_type {
#define ST_PKG_ENUM(id, word, purl, language, database) id,
    ST_PKG_TYPES(ST_PKG_ENUM)
#undef ST_PKG_ENUM
        ST_PKG_TYPES_MAX
};

struct st_pkg_type_info {
    const char *word, *purl_type, *language;
    bool database;
};
const struct st_pkg_type_info *st_pkg_type_info(enum st_pkg_type type);

struct st_kv {
    struct st_sv key, value;
};

struct st_svs {
    const struct st_sv *at;
    size_t n;
};

struct st_kvs {
    const struct st_kv *at;
    size_t n;
};

struct st_package {
    enum st_pkg_type type;
    // purl namespace that the package itself names: npm scope ("@angular"), maven groupId, composer vendor,
    // Go module path before its last segment. Empty for distribution packages (the distribution fills it in).
    struct st_sv ns;
    struct st_sv name;
    // As the ecosystem writes it: deb and apk whole ("1:2.4-2"), rpm "version-release" without the epoch.
    struct st_sv version;
    struct st_sv epoch; // rpm only; empty when the header has none
    struct st_sv arch;  // as the database writes it ("amd64", "x86_64", "noarch"); empty when there is none
    // Source package when it differs or is named: deb source and its version, apk origin, rpm source rpm file name.
    struct st_sv source_name, source_version;
    struct st_svs licenses; // as declared, one view each; expressions are not split
    // Further purl qualifiers that the package fixes: rpmmod, platform (gem), vcs_url, build/channel/subdir (conda),
    // type/classifier (maven) when not jar. Never arch, distro, epoch, upstream: those are made from the fields.
    struct st_kvs quals;
    // Facts for formats that carry them, keys in lowerCamelCase as syft-json's metadata spells them
    // ("maintainer", "installedSize", "vendor", "sourceRpm", "h1Digest", "goCompiledVersion", "virtualPath" ...).
    struct st_kvs meta;
    // What the database declares. A capability is a name without its version constraint ("libc6", "so:libc.so.6");
    // alternatives of one dependency are one view joined with '|'.
    struct st_svs depends, provides;
    // Where inside the evidence file it was found, '/'-separated and ':' between nested archives
    // ("WEB-INF/lib/b.jar", "a.jar:META-INF/maven/g/a/pom.properties"); empty: the file itself.
    struct st_sv inner;
};

// The distribution of an image: fields of os-release(5), or made from an older release file.
struct st_distro {
    struct st_sv id, version_id, name, pretty_name, version_codename, variant_id, id_like, cpe_name, home_url;
    bool from_release_file; // older file (etc/alpine-release, etc/redhat-release ...): yields to os-release
};

// A fact about a package that stands in another file than the package's own. Applied when both files are visible.
// Addressed either by the package's evidence path (path set) or by type and name (path empty).
struct st_note {
    struct st_sv path;
    enum st_pkg_type type;
    struct st_sv name;
    struct st_sv key; // "license", or "qual:NAME" for a purl qualifier, or "meta:NAME"
    struct st_sv value;
};

// Why a file, or a part of it, could not be read. Part of every output format.
#define ST_UNKNOWN_REASONS(X)                                                                            \
    X(ST_UNKNOWN_FORMAT, "format")           /* contents are not what the name promises */               \
    X(ST_UNKNOWN_LIMIT, "limit")             /* a fixed limit was reached */                             \
    X(ST_UNKNOWN_CRASH, "crash")             /* the analyzer died on this file */                        \
    X(ST_UNKNOWN_LINK, "link")               /* a hard link whose target's bytes cannot be read again */ \
    X(ST_UNKNOWN_ENCRYPTED, "encrypted")     /* zip member with a password */                            \
    X(ST_UNKNOWN_UNSUPPORTED, "unsupported") /* a known format or feature that is not read */            \
    X(ST_UNKNOWN_FOREIGN, "foreign-layer")   /* a layer whose blob is not in the image */                \
    X(ST_UNKNOWN_UNREADABLE, "unreadable")   /* the file of a directory could not be opened or read */

enum st_unknown_reason {
#define ST_UNKNOWN_ENUM(id, word) id,
    ST_UNKNOWN_REASONS(ST_UNKNOWN_ENUM)
#undef ST_UNKNOWN_ENUM
        ST_UNKNOWN_REASONS_MAX
};
const char *st_unknown_word(enum st_unknown_reason reason);

struct st_unknown {
    struct st_sv path;  // file in the image; for a foreign layer its digest
    struct st_sv inner; // as in struct st_package
    enum st_unknown_reason reason;
    struct st_sv text; // one line: what was wrong, with the byte offset where there is one
};

#endif
