// Executables (ELF, PE, Mach-O) as far as catalogers need them: sections by name, addresses to bytes. Reads from an
// st_view that may hold only the ranges of st_exe_plan; every call answers as st_view_get does: OK, OUTSIDE (the
// file does not have it) or MISSING (it has, but the range was not kept: return ST_PARSE_AGAIN).
#ifndef ST_CATALOG_EXE_H
#define ST_CATALOG_EXE_H

#include "catalog/catalog.h"

#define ST_EXE_SLICES_MAX 44             // of a universal binary; from 45 on the number is a Java class file's version
#define ST_EXE_SECTIONS_MAX 65535        // also of program headers
#define ST_EXE_COMMANDS_MAX (1u << 20)   // bytes of Mach-O load commands
#define ST_EXE_SEARCH (1u << 20)         // bytes of a data segment in which a marker without a section is looked for
#define ST_EXE_FILE_MAX (4ull << 30)     // a larger executable is not looked into
#define ST_EXE_PLAN_STRINGS (128u << 10) // kept behind a place where a marker is expected

enum st_exe_format { ST_EXE_ELF, ST_EXE_PE, ST_EXE_MACHO };

struct st_exe {
    const struct st_view *view; // borrowed
    uint64_t base, size;        // of this image in the file (a slice of a universal binary)
    enum st_exe_format format;
    bool is64, big;
    unsigned machine;    // e_machine, PE Machine or Mach-O cputype
    uint64_t image_base; // PE: added to section addresses
    // ELF program headers, PE section table or Mach-O load commands.
    struct st_sv table;
    unsigned n, entry;
    // ELF section headers and their names; empty when the file has none.
    struct st_sv sections, names;
    unsigned n_sections, section_entry;
    enum st_view_result sections_result; // OK, or why `sections` is empty
};

struct st_exe_part {
    struct st_sv segment, name; // segment: Mach-O only
    uint64_t addr, off, size;   // in the image: address, offset from the image's start, bytes in the file
    bool write, exec;
};

// Files that start like an executable (head: at least 16 bytes of it, else false).
bool st_exe_magic(struct st_sv head, uint64_t size);
// Which ranges answer the questions below for most files; n == 0: nothing in it can be of interest.
int st_exe_plan(struct st_sv head, uint64_t size, struct st_plan *ret);

// Images in the file: 1, or the slices of a universal binary. OUTSIDE: no executable.
enum st_view_result st_exe_count(const struct st_view *v, unsigned *ret_n);
// Image i of the file. OUTSIDE: not an executable, or its tables are damaged.
enum st_view_result st_exe_open(struct st_exe *x, const struct st_view *v, unsigned i);
// The first section (ELF, PE: segment NULL) with this name that has bytes in the file.
enum st_view_result st_exe_section(const struct st_exe *x, const char *segment, const char *name,
                                   struct st_exe_part *ret);
// The section's bytes.
enum st_view_result st_exe_bytes(const struct st_exe *x, const struct st_exe_part *part, struct st_sv *ret);
// The first writable data segment with bytes in the file: where a linker without section names puts markers.
enum st_view_result st_exe_data(const struct st_exe *x, struct st_exe_part *ret);
// len bytes at a virtual address.
enum st_view_result st_exe_at(const struct st_exe *x, uint64_t addr, uint64_t len, struct st_sv *ret);
// How many bytes the segment that maps this address has in the file from there on; 0: not mapped.
uint64_t st_exe_mapped(const struct st_exe *x, uint64_t addr);
// Has the file a section table that was read? Then a section that st_exe_section does not find is not there.
bool st_exe_has_sections(const struct st_exe *x);
// GOARCH's word for the machine, empty when there is none.
struct st_sv st_exe_arch(const struct st_exe *x);

#endif
