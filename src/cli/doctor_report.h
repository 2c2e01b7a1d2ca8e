// What stella doctor found, in its forms; and the bundle for somebody who helps.
#ifndef ST_CLI_DOCTOR_REPORT_H
#define ST_CLI_DOCTOR_REPORT_H

#include "cli/doctor.h"

#define ST_DOCTOR_CHECKS_MAX 32

struct st_doctor_report {
    uint64_t chosen; // checks, one bit each
    unsigned shown;  // results, one bit each
    bool verbose;    // evidence also of what passed
    // ---- set by st_doctor_examine
    struct st_doctor_facts facts;
    struct st_diagnosis found[ST_DOCTOR_CHECKS_MAX]; // by check; of those chosen
    size_t n, counts[ST_DOCTOR_RESULTS];             // of those chosen
};

void st_doctor_examine(struct st_doctor_report *r, bool quick);
void st_doctor_text(const struct st_doctor_report *r, struct st_out *o);
void st_doctor_table(const struct st_doctor_report *r, struct st_out *o);
void st_doctor_json(const struct st_doctor_report *r, struct st_out *o); // docs/schema/doctor.schema.json
void st_doctor_markdown(const struct st_doctor_report *r, struct st_out *o);

// A tar archive (ustar), files in a fixed order, each bounded, without times of files. What cannot be had is a file
// that says why.
int st_doctor_bundle(const struct st_doctor_report *r, bool logs, struct st_out *o, struct st_err *err);
// The same into a file that appears when it is complete, mode 0600.
int st_doctor_bundle_file(const struct st_doctor_report *r, bool logs, const char *path, struct st_err *err);
// Text without secrets: passwords in addresses (scheme://user:PASSWORD@), what follows "bearer", "basic", and what is
// assigned to names that end in token, password, secret or key (=, :, with or without quotes) become "***".
int st_doctor_redact(struct st_sv text, struct st_buf *to, struct st_err *err);

#endif
