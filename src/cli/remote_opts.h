// Option rows of the verbs that may read from a registry: `field` of `type` is a struct st_remote_options.
#ifndef ST_CLI_REMOTE_OPTS_H
#define ST_CLI_REMOTE_OPTS_H

#include "command/option.h"

extern const struct st_choice st_source_choices[];

#define ST_REMOTE_OPTS(type, field)                                                                                  \
    {"source",                                                                                                       \
     0,                                                                                                              \
     ST_OPT_ENUM_AT(type, field.source),                                                                             \
     .arg = "WHERE",                                                                                                 \
     .help = "where a reference without a scheme is looked for; any: docker, podman, containerd, "                   \
             "containers-storage, as far as they are there and may be read, then the registry",                      \
     .def = "any",                                                                                                   \
     .choices = st_source_choices,                                                                                   \
     .env = "STELLA_SOURCE"},                                                                                        \
        {"creds", 0, ST_OPT_STRING_AT(type, field.creds), .arg = "USER[:PASSWORD]",                                  \
         .help = "login for the registry; without a password it is asked for (better: docker login, podman login)"}, \
        {"insecure", 0, ST_OPT_LIST_AT(type, field.insecure), .arg = "HOST",                                         \
         .help = "take any certificate of this registry, and plain HTTP where it has no TLS; repeatable"},           \
        {"ca-file",                                                                                                  \
         0,                                                                                                          \
         ST_OPT_STRING_AT(type, field.ca_file),                                                                      \
         .arg = "FILE",                                                                                              \
         .help = "trust these certificate authorities (PEM), too",                                                   \
         .env = "STELLA_CA_FILE"},                                                                                   \
        {"client-cert", 0, ST_OPT_STRING_AT(type, field.client_cert), .arg = "FILE",                                 \
         .help = "client certificate (PEM) for the registry"},                                                       \
        {"client-key", 0, ST_OPT_STRING_AT(type, field.client_key), .arg = "FILE", .help = "its private key (PEM)"}, \
        {"bandwidth",                                                                                                \
         0,                                                                                                          \
         ST_OPT_BYTES_AT(type, field.bandwidth),                                                                     \
         .arg = "BYTES",                                                                                             \
         .help = "fetch at most so much a second",                                                                   \
         .def_text = "no limit",                                                                                     \
         .min = 1024},                                                                                               \
    {                                                                                                                \
        "verbose", 'v', ST_OPT_FLAG_AT(type, field.verbose),                                                         \
            .help = "say each request that is made and what is decided"                                              \
    }

#endif
