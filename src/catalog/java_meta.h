// The texts that say what a Java archive is: MANIFEST.MF, pom.properties, pom.xml, and the file's name. All are read
// for a few fields; what is not understood is passed over.
#ifndef ST_CATALOG_JAVA_META_H
#define ST_CATALOG_JAVA_META_H

#include "base/mem.h"

// id, attribute
#define ST_MANIFEST_ATTRIBUTES(X)                       \
    X(ST_MF_GROUP_ID, "Group-Id")                       \
    X(ST_MF_SHORT_NAME, "Short-Name")                   \
    X(ST_MF_PLUGIN_VERSION, "Plugin-Version")           \
    X(ST_MF_PLUGIN_LICENSE, "Plugin-License-Name")      \
    X(ST_MF_IMPL_TITLE, "Implementation-Title")         \
    X(ST_MF_IMPL_VERSION, "Implementation-Version")     \
    X(ST_MF_IMPL_VENDOR, "Implementation-Vendor")       \
    X(ST_MF_IMPL_VENDOR_ID, "Implementation-Vendor-Id") \
    X(ST_MF_SPEC_TITLE, "Specification-Title")          \
    X(ST_MF_SPEC_VERSION, "Specification-Version")      \
    X(ST_MF_BUNDLE_NAME, "Bundle-SymbolicName")         \
    X(ST_MF_BUNDLE_VERSION, "Bundle-Version")           \
    X(ST_MF_BUNDLE_VENDOR, "Bundle-Vendor")             \
    X(ST_MF_BUNDLE_LICENSE, "Bundle-License")           \
    X(ST_MF_MODULE_NAME, "Automatic-Module-Name")       \
    X(ST_MF_WEAVE_CLASSES, "Weave-Classes")

enum st_manifest_attribute {
#define ST_MF_ENUM(id, name) id,
    ST_MANIFEST_ATTRIBUTES(ST_MF_ENUM)
#undef ST_MF_ENUM
        ST_MF_MAX
};

struct st_manifest {
    bool present;
    struct st_sv at[ST_MF_MAX]; // first value of each, empty when there is none
};

// Main section first; the sections of packages only for what that lacks (old Ant files). Long lines are joined.
int st_manifest_read(struct st_sv text, struct st_arena *a, struct st_manifest *ret, struct st_err *err);

#define ST_POM_LICENSES_MAX 8

struct st_pom {
    struct st_sv group, artifact, version;
    struct st_sv licenses[ST_POM_LICENSES_MAX]; // names, else URLs
    size_t n_licenses;
};

// pom.properties (java.util.Properties): borrowed from text.
void st_pom_properties(struct st_sv text, struct st_pom *ret);
// pom.xml: what the project says itself, group and version from its parent when it does not, "${...}" looked up among
// its own <properties> and the usual names, otherwise left empty. Texts are unescaped into the arena.
int st_pom_xml(struct st_sv text, struct st_arena *a, struct st_pom *ret, struct st_err *err);

struct st_java_name {
    struct st_sv stem, ext;     // of the last path component, without the dot
    struct st_sv name, version; // stem taken apart; version empty when it has none
};
struct st_java_name st_java_name(struct st_sv path);

// Can this be a group or artifact id (letters, digits, '.', '_', '-')? A version (no blanks, quotes, '$', '/')?
bool st_java_is_id(struct st_sv s);
bool st_java_is_version(struct st_sv s);
// Group of an artifact that its archives do not name and whose name is nobody else's; empty when not known.
struct st_sv st_java_known_group(struct st_sv artifact);

#endif
