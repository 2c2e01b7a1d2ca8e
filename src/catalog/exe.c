#include "catalog/exe.h"

#include "base/ckd.h"

#include <endian.h>

// ELF: System V gABI, chapters 4 and 5. PE: Microsoft "PE Format". Mach-O: <mach-o/loader.h>, <mach-o/fat.h>.
enum {
    ELF_EHDR32 = 52,
    ELF_EHDR64 = 64,
    ELF_PHDR32 = 32,
    ELF_PHDR64 = 56,
    ELF_SHDR32 = 40,
    ELF_SHDR64 = 64,
    ELF_ET_EXEC = 2,
    ELF_ET_DYN = 3,
    ELF_PT_LOAD = 1,
    ELF_PT_GNU_RELRO = 0x6474e552,
    ELF_SHT_PROGBITS = 1,
    ELF_SHT_NOBITS = 8,
    ELF_SHF_WRITE = 1,
    ELF_SHF_ALLOC = 2,
    ELF_SHF_MASK = 7, // these two and SHF_EXECINSTR
    ELF_PF_X = 1,
    ELF_PF_W = 2,
    PE_SIZE_COFF = 24, // signature and COFF header
    PE_SIZE_SECTION = 40,
    PE_SCN_DATA = 0x40,
    PE_SCN_ALIGN = 0x600000,
    MACHO_LC_SEGMENT = 0x1,
    MACHO_LC_SEGMENT_64 = 0x19,
    FAT_MAGIC = 0xcafebabe,
    FAT_MAGIC_64 = 0xcafebabf,
};
#define PE_SCN_EXEC 0x20000000u
#define PE_SCN_READ 0x40000000u
#define PE_SCN_WRITE 0x80000000u

// .shstrtab stands right before the section headers when a GNU tool wrote the file; lld puts .strtab between them.
#define NAMES_GUESS (64u << 10)
#define RELRO_WINDOW (512u << 10)
#define SECTIONS_PLAN_MAX (256u << 10)
#define FAT_PLAN_SLICES 6
#define GO_POINTERS_SIZE 32   // .go.buildinfo of Go 1.13 to 1.17; later ones hold the strings behind as many bytes
#define GO_CONSTANTS_MIN 4096 // .rodata of a Go program is larger

static uint64_t get(struct st_sv s, uint64_t off, unsigned width, bool big)
{
    const unsigned char *p = (const unsigned char *)s.ptr + off;
    uint64_t v = 0;
    if (off > s.len || s.len - off < width)
        return 0;
    memcpy(&v, p, width);
    v = le64toh(v);
    return big ? __builtin_bswap64(v) >> (64 - 8 * width) : v;
}

static bool has(struct st_sv head, const char *magic, size_t n)
{
    return head.len >= n && memcmp(head.ptr, magic, n) == 0;
}

static bool is_macho(struct st_sv head)
{
    return has(head, "\xfe\xed\xfa\xce", 4) || has(head, "\xfe\xed\xfa\xcf", 4) || has(head, "\xce\xfa\xed\xfe", 4) ||
           has(head, "\xcf\xfa\xed\xfe", 4);
}

static bool is_fat(struct st_sv head)
{
    uint64_t magic = get(head, 0, 4, true), n = get(head, 4, 4, true);
    return (magic == FAT_MAGIC || magic == FAT_MAGIC_64) && n > 0 && n <= ST_EXE_SLICES_MAX;
}

bool st_exe_magic(struct st_sv head, uint64_t size)
{
    return head.len >= 16 && size >= ELF_EHDR32 &&
           (has(head, "\177ELF", 4) || has(head, "MZ", 2) || is_macho(head) || is_fat(head));
}

// A C string in a fixed field.
static struct st_sv field(struct st_sv s, uint64_t off, size_t n)
{
    struct st_sv f = off > s.len ? ST_SV_NULL : st_sv_sub(s, (size_t)off, n), head, tail;
    st_sv_cut(f, '\0', &head, &tail);
    return head;
}

static enum st_view_result view(const struct st_exe *x, uint64_t off, uint64_t len, struct st_sv *ret)
{
    uint64_t end, at;
    if (st_ckd_add(&end, off, len) || end > x->size || st_ckd_add(&at, x->base, off))
        return ST_VIEW_OUTSIDE;
    return st_view_get(x->view, at, len, ret);
}

// ---- ELF --------------------------------------------------------------------------------------------

struct elf_head {
    bool is64, big;
    unsigned type, machine, phentsize, phnum, shentsize, shnum, shstrndx;
    uint64_t phoff, shoff;
};

static bool elf_head(struct st_sv h, struct elf_head *ret)
{
    if (h.len < ELF_EHDR32 || !has(h, "\177ELF", 4) || h.ptr[4] < 1 || h.ptr[4] > 2 || h.ptr[5] < 1 || h.ptr[5] > 2)
        return false;
    bool is64 = h.ptr[4] == 2, b = h.ptr[5] == 2;
    if (is64 && h.len < ELF_EHDR64)
        return false;
    unsigned counts = is64 ? 54 : 42, w = is64 ? 8 : 4; // e_phentsize and what follows
    *ret = (struct elf_head){
        .is64 = is64,
        .big = b,
        .type = (unsigned)get(h, 16, 2, b),
        .machine = (unsigned)get(h, 18, 2, b),
        .phoff = get(h, is64 ? 32 : 28, w, b),
        .shoff = get(h, is64 ? 40 : 32, w, b),
        .phentsize = (unsigned)get(h, counts, 2, b),
        .phnum = (unsigned)get(h, counts + 2, 2, b),
        .shentsize = (unsigned)get(h, counts + 4, 2, b),
        .shnum = (unsigned)get(h, counts + 6, 2, b),
        .shstrndx = (unsigned)get(h, counts + 8, 2, b),
    };
    return (ret->type == ELF_ET_EXEC || ret->type == ELF_ET_DYN) &&
           (ret->phnum == 0 || ret->phentsize >= (is64 ? ELF_PHDR64 : ELF_PHDR32)) &&
           (ret->shnum == 0 || ret->shentsize >= (is64 ? ELF_SHDR64 : ELF_SHDR32));
}

struct elf_segment {
    uint64_t type, flags, off, addr, filesz;
};

static struct elf_segment elf_segment(struct st_sv table, unsigned entry, unsigned i, bool is64, bool big)
{
    struct st_sv e = st_sv_sub(table, (size_t)entry * i, entry);
    unsigned w = is64 ? 8 : 4;
    return (struct elf_segment){
        .type = get(e, 0, 4, big),
        .flags = get(e, is64 ? 4 : 24, 4, big),
        .off = get(e, is64 ? 8 : 4, w, big),
        .addr = get(e, is64 ? 16 : 8, w, big),
        .filesz = get(e, is64 ? 32 : 16, w, big),
    };
}

struct elf_section {
    uint64_t name, type, flags, addr, off, size;
};

static struct elf_section elf_section(struct st_sv table, unsigned entry, unsigned i, bool is64, bool big)
{
    struct st_sv e = st_sv_sub(table, (size_t)entry * i, entry);
    unsigned w = is64 ? 8 : 4;
    return (struct elf_section){
        .name = get(e, 0, 4, big),
        .type = get(e, 4, 4, big),
        .flags = get(e, 8, w, big),
        .addr = get(e, is64 ? 16 : 12, w, big),
        .off = get(e, is64 ? 24 : 16, w, big),
        .size = get(e, is64 ? 32 : 20, w, big),
    };
}

// The section headers and their names. Damaged tables are as none: the kernel runs such files too.
static enum st_view_result elf_sections(struct st_exe *x, const struct elf_head *h)
{
    unsigned n = h->shnum;
    if (h->shoff == 0 || n <= h->shstrndx)
        return ST_VIEW_OUTSIDE;
    struct st_sv table, names;
    enum st_view_result r = view(x, h->shoff, (uint64_t)n * h->shentsize, &table);
    if (r != ST_VIEW_OK)
        return r;
    struct elf_section s = elf_section(table, h->shentsize, h->shstrndx, h->is64, h->big);
    if (s.type == ELF_SHT_NOBITS || s.size == 0)
        return ST_VIEW_OUTSIDE;
    r = view(x, s.off, s.size, &names);
    if (r != ST_VIEW_OK)
        return r;
    x->sections = table;
    x->names = names;
    x->n_sections = n;
    x->section_entry = h->shentsize;
    return ST_VIEW_OK;
}

static enum st_view_result elf_open(struct st_exe *x, struct st_sv head)
{
    struct elf_head h;
    if (!elf_head(head, &h))
        return ST_VIEW_OUTSIDE;
    x->format = ST_EXE_ELF;
    x->is64 = h.is64;
    x->big = h.big;
    x->machine = h.machine;
    x->sections_result = elf_sections(x, &h);
    if (x->sections_result == ST_VIEW_MISSING)
        return ST_VIEW_MISSING;
    enum st_view_result r = view(x, h.phoff, (uint64_t)h.phnum * h.phentsize, &x->table);
    if (r == ST_VIEW_MISSING)
        return r;
    x->n = r == ST_VIEW_OK ? h.phnum : 0;
    x->entry = h.phentsize;
    return ST_VIEW_OK;
}

// ---- PE ---------------------------------------------------------------------------------------------

struct pe_head {
    uint64_t table_off, image_base;
    unsigned machine, n;
};

static bool pe_head(struct st_sv h, struct pe_head *ret)
{
    if (!has(h, "MZ", 2) || h.len < 64)
        return false;
    uint64_t off = get(h, 60, 4, false); // e_lfanew
    struct st_sv pe = off > h.len ? ST_SV_NULL : st_sv_from(h, (size_t)off);
    if (pe.len < PE_SIZE_COFF + 32 || !has(pe, "PE\0\0", 4))
        return false;
    uint64_t optional = get(pe, 20, 2, false), magic = get(pe, PE_SIZE_COFF, 2, false);
    if (optional < 32 || (magic != 0x10b && magic != 0x20b))
        return false;
    *ret = (struct pe_head){
        .machine = (unsigned)get(pe, 4, 2, false),
        .n = (unsigned)get(pe, 6, 2, false),
        .table_off = off + PE_SIZE_COFF + optional,
        .image_base = magic == 0x20b ? get(pe, PE_SIZE_COFF + 24, 8, false) : get(pe, PE_SIZE_COFF + 28, 4, false),
    };
    return true;
}

static enum st_view_result pe_open(struct st_exe *x, struct st_sv head)
{
    struct pe_head h;
    if (!pe_head(head, &h))
        return ST_VIEW_OUTSIDE;
    x->format = ST_EXE_PE;
    x->machine = h.machine;
    x->image_base = h.image_base;
    x->n = h.n;
    x->entry = PE_SIZE_SECTION;
    x->sections_result = view(x, h.table_off, (uint64_t)h.n * PE_SIZE_SECTION, &x->table);
    return x->sections_result;
}

static struct st_exe_part pe_part(const struct st_exe *x, unsigned i)
{
    struct st_sv e = st_sv_sub(x->table, (size_t)i * PE_SIZE_SECTION, PE_SIZE_SECTION);
    uint64_t flags = get(e, 36, 4, false);
    return (struct st_exe_part){
        .name = field(e, 0, 8),
        .addr = x->image_base + get(e, 12, 4, false),
        .size = get(e, 16, 4, false),
        .off = get(e, 20, 4, false),
        .write = (flags & ~(uint64_t)PE_SCN_ALIGN) == (PE_SCN_DATA | PE_SCN_READ | PE_SCN_WRITE),
        .exec = flags & PE_SCN_EXEC,
    };
}

// ---- Mach-O -----------------------------------------------------------------------------------------

static enum st_view_result macho_open(struct st_exe *x, struct st_sv head)
{
    if (!is_macho(head) || head.len < 28)
        return ST_VIEW_OUTSIDE;
    x->format = ST_EXE_MACHO;
    x->big = (unsigned char)head.ptr[0] == 0xfe;
    x->is64 = ((unsigned char)head.ptr[0] == 0xcf) || ((unsigned char)head.ptr[3] == 0xcf);
    x->machine = (unsigned)get(head, 4, 4, x->big);
    x->n = (unsigned)get(head, 16, 4, x->big);
    uint64_t bytes = get(head, 20, 4, x->big);
    if (bytes > ST_EXE_COMMANDS_MAX)
        return ST_VIEW_OUTSIDE;
    x->sections_result = view(x, x->is64 ? 32 : 28, bytes, &x->table);
    return x->sections_result;
}

// Walks load commands: segments, and the sections in each.
struct macho_walk {
    struct st_sv segment;  // the command of the current segment
    size_t next;           // offset of the next command
    unsigned i;            // commands seen
    unsigned section, n;   // next section, and how many
    struct st_exe_part at; // current segment
    bool in_segment;
};

static bool macho_segment(const struct st_exe *x, struct macho_walk *w)
{
    for (; w->i < x->n; w->i++) {
        uint64_t cmd = get(x->table, w->next, 4, x->big), size = get(x->table, w->next + 4, 4, x->big);
        if (size < 8 || w->next > x->table.len || size > x->table.len - w->next)
            return false;
        struct st_sv c = st_sv_sub(x->table, w->next, (size_t)size);
        w->next += (size_t)size;
        bool is64 = cmd == MACHO_LC_SEGMENT_64;
        if ((!is64 && cmd != MACHO_LC_SEGMENT) || size < (is64 ? 72 : 56))
            continue;
        unsigned width = is64 ? 8 : 4;
        uint64_t prot = get(c, is64 ? 60 : 44, 4, x->big), max = get(c, is64 ? 56 : 40, 4, x->big);
        w->i++;
        w->segment = c;
        w->section = 0;
        w->n = (unsigned)get(c, is64 ? 64 : 48, 4, x->big);
        w->at = (struct st_exe_part){
            .segment = field(c, 8, 16),
            .addr = get(c, 24, width, x->big),
            .off = get(c, 24 + 2 * width, width, x->big),
            .size = get(c, 24 + 3 * width, width, x->big),
            .write = prot == 3 && max == 3, // read and write
            .exec = prot & 4,
        };
        return true;
    }
    return false;
}

static bool macho_section(const struct st_exe *x, struct macho_walk *w, struct st_exe_part *ret)
{
    for (;;) {
        if (w->in_segment && w->section < w->n) {
            bool is64 = get(w->segment, 0, 4, x->big) == MACHO_LC_SEGMENT_64;
            size_t at = (is64 ? 72 : 56) + (size_t)w->section * (is64 ? 80 : 68), width = is64 ? 8 : 4;
            struct st_sv s = st_sv_sub(w->segment, at, is64 ? 80 : 68);
            w->section++;
            if (s.len == (is64 ? 80u : 68u)) {
                *ret = (struct st_exe_part){
                    .name = field(s, 0, 16),
                    .segment = field(s, 16, 16),
                    .addr = get(s, 32, (unsigned)width, x->big),
                    .size = get(s, 32 + width, (unsigned)width, x->big),
                    .off = get(s, 32 + 2 * width, 4, x->big),
                };
                return true;
            }
        }
        // The rest of a segment that ends early is not looked at.
        if (!macho_segment(x, w))
            return false;
        w->in_segment = true;
    }
}

// ---- all formats --------------------------------------------------------------------------------------

enum st_view_result st_exe_count(const struct st_view *v, unsigned *ret_n)
{
    struct st_sv head;
    if (v->size < ELF_EHDR32)
        return ST_VIEW_OUTSIDE;
    enum st_view_result r = st_view_get(v, 0, ST_MIN(v->size, 64), &head);
    if (r != ST_VIEW_OK)
        return r;
    if (!st_exe_magic(head, v->size))
        return ST_VIEW_OUTSIDE;
    *ret_n = is_fat(head) ? (unsigned)get(head, 4, 4, true) : 1;
    return ST_VIEW_OK;
}

// Where slice i of a universal binary lies.
static bool fat_slice(struct st_sv head, unsigned i, uint64_t *ret_off, uint64_t *ret_size)
{
    bool wide = get(head, 0, 4, true) == FAT_MAGIC_64;
    size_t at = 8 + (size_t)i * (wide ? 32 : 20);
    if (at > head.len || head.len - at < (wide ? 32 : 20))
        return false;
    *ret_off = get(head, at + 8, wide ? 8 : 4, true);
    *ret_size = get(head, at + (wide ? 16 : 12), wide ? 8 : 4, true);
    return true;
}

enum st_view_result st_exe_open(struct st_exe *x, const struct st_view *v, unsigned i)
{
    struct st_sv head;
    *x = (struct st_exe){.view = v, .size = v->size, .sections_result = ST_VIEW_OUTSIDE};
    enum st_view_result r = view(x, 0, ST_MIN(v->size, ST_PLAN_HEAD), &head);
    if (r != ST_VIEW_OK)
        return r;
    if (is_fat(head)) {
        uint64_t off, size;
        if (!fat_slice(head, i, &off, &size) || off > v->size || size > v->size - off)
            return ST_VIEW_OUTSIDE;
        x->base = off;
        x->size = size;
        r = view(x, 0, ST_MIN(size, 64), &head);
        return r != ST_VIEW_OK ? r : macho_open(x, head);
    }
    return has(head, "MZ", 2) ? pe_open(x, head) : is_macho(head) ? macho_open(x, head) : elf_open(x, head);
}

bool st_exe_has_sections(const struct st_exe *x)
{
    return x->format == ST_EXE_ELF && x->sections_result == ST_VIEW_OK;
}

enum st_view_result st_exe_section(const struct st_exe *x, const char *segment, const char *name,
                                   struct st_exe_part *ret)
{
    struct st_sv want = st_sv_of(name);
    if (x->format == ST_EXE_MACHO) {
        struct macho_walk w = {0};
        struct st_exe_part p;
        while (macho_section(x, &w, &p))
            if (p.size && st_sv_eq(p.name, want) && (!segment || st_sv_eq(p.segment, st_sv_of(segment)))) {
                *ret = p;
                return ST_VIEW_OK;
            }
        return ST_VIEW_OUTSIDE;
    }
    if (x->format == ST_EXE_PE) {
        for (unsigned i = 0; i < x->n; i++) {
            struct st_exe_part p = pe_part(x, i);
            if (p.size && st_sv_eq(p.name, want)) {
                *ret = p;
                return ST_VIEW_OK;
            }
        }
        return ST_VIEW_OUTSIDE;
    }
    for (unsigned i = 0; i < x->n_sections; i++) {
        struct elf_section s = elf_section(x->sections, x->section_entry, i, x->is64, x->big);
        if (s.type == ELF_SHT_NOBITS || s.size == 0 || s.name > x->names.len ||
            !st_sv_eq(field(x->names, s.name, want.len + 1), want))
            continue;
        *ret = (struct st_exe_part){.name = want, .addr = s.addr, .off = s.off, .size = s.size};
        return ST_VIEW_OK;
    }
    return ST_VIEW_OUTSIDE;
}

enum st_view_result st_exe_bytes(const struct st_exe *x, const struct st_exe_part *part, struct st_sv *ret)
{
    return view(x, part->off, part->size, ret);
}

static bool elf_part(const struct st_exe *x, unsigned i, struct st_exe_part *ret)
{
    struct elf_segment s = elf_segment(x->table, x->entry, i, x->is64, x->big);
    *ret = (struct st_exe_part){
        .addr = s.addr, .off = s.off, .size = s.filesz, .write = s.flags & ELF_PF_W, .exec = s.flags & ELF_PF_X};
    return s.type == ELF_PT_LOAD;
}

// The first loaded part of the file that `wanted` accepts.
static bool find(const struct st_exe *x, bool (*wanted)(const struct st_exe_part *, uint64_t), uint64_t arg,
                 struct st_exe_part *ret)
{
    struct macho_walk w = {0};
    if (x->format == ST_EXE_MACHO) {
        while (macho_segment(x, &w))
            if (w.at.size && wanted(&w.at, arg)) {
                *ret = w.at;
                return true;
            }
        return false;
    }
    for (unsigned i = 0; i < x->n; i++) {
        struct st_exe_part p;
        bool loaded = true;
        if (x->format == ST_EXE_PE)
            p = pe_part(x, i);
        else
            loaded = elf_part(x, i, &p);
        if (loaded && p.size && wanted(&p, arg)) {
            *ret = p;
            return true;
        }
    }
    return false;
}

static bool is_data(const struct st_exe_part *p, uint64_t arg)
{
    return p->write && !p->exec && p->addr != 0;
}

static bool maps(const struct st_exe_part *p, uint64_t addr)
{
    return p->addr <= addr && addr - p->addr < p->size && !st_sv_eq(p->segment, ST_SV("__PAGEZERO"));
}

enum st_view_result st_exe_data(const struct st_exe *x, struct st_exe_part *ret)
{
    return find(x, is_data, 0, ret) ? ST_VIEW_OK : ST_VIEW_OUTSIDE;
}

uint64_t st_exe_mapped(const struct st_exe *x, uint64_t addr)
{
    struct st_exe_part p;
    return find(x, maps, addr, &p) ? p.size - (addr - p.addr) : 0;
}

enum st_view_result st_exe_at(const struct st_exe *x, uint64_t addr, uint64_t len, struct st_sv *ret)
{
    struct st_exe_part p;
    uint64_t off;
    if (!find(x, maps, addr, &p) || len > p.size - (addr - p.addr) || st_ckd_add(&off, p.off, addr - p.addr))
        return ST_VIEW_OUTSIDE;
    return view(x, off, len, ret);
}

struct st_sv st_exe_arch(const struct st_exe *x)
{
    static const struct {
        enum st_exe_format format;
        unsigned machine;
        int is64; // -1: either
        int big;  // -1: either
        struct st_sv arch;
    } rows[] = {
        {ST_EXE_ELF, 3, -1, -1, ST_SV_INIT("386")},
        {ST_EXE_ELF, 62, -1, -1, ST_SV_INIT("amd64")},
        {ST_EXE_ELF, 40, -1, -1, ST_SV_INIT("arm")},
        {ST_EXE_ELF, 183, -1, -1, ST_SV_INIT("arm64")},
        {ST_EXE_ELF, 21, -1, 1, ST_SV_INIT("ppc64")},
        {ST_EXE_ELF, 21, -1, 0, ST_SV_INIT("ppc64le")},
        {ST_EXE_ELF, 22, -1, -1, ST_SV_INIT("s390x")},
        {ST_EXE_ELF, 243, -1, -1, ST_SV_INIT("riscv64")},
        {ST_EXE_ELF, 258, -1, -1, ST_SV_INIT("loong64")},
        {ST_EXE_ELF, 8, 1, 1, ST_SV_INIT("mips64")},
        {ST_EXE_ELF, 8, 1, 0, ST_SV_INIT("mips64le")},
        {ST_EXE_ELF, 8, 0, 1, ST_SV_INIT("mips")},
        {ST_EXE_ELF, 8, 0, 0, ST_SV_INIT("mipsle")},
        {ST_EXE_PE, 0x14c, -1, -1, ST_SV_INIT("386")},
        {ST_EXE_PE, 0x8664, -1, -1, ST_SV_INIT("amd64")},
        {ST_EXE_PE, 0xaa64, -1, -1, ST_SV_INIT("arm64")},
        {ST_EXE_PE, 0x1c4, -1, -1, ST_SV_INIT("arm")},
        {ST_EXE_MACHO, 7, -1, -1, ST_SV_INIT("386")},
        {ST_EXE_MACHO, 0x1000007, -1, -1, ST_SV_INIT("amd64")},
        {ST_EXE_MACHO, 0x100000c, -1, -1, ST_SV_INIT("arm64")},
        {ST_EXE_MACHO, 12, -1, -1, ST_SV_INIT("arm")},
    };
    for (size_t i = 0; i < ST_LEN(rows); i++)
        if (rows[i].format == x->format && rows[i].machine == x->machine &&
            (rows[i].is64 < 0 || rows[i].is64 == x->is64) && (rows[i].big < 0 || rows[i].big == x->big))
            return rows[i].arch;
    return ST_SV_NULL;
}

// ---- plan -----------------------------------------------------------------------------------------------

static void want(struct st_plan *p, uint64_t off, uint64_t len, uint64_t size)
{
    uint64_t used = 0;
    for (size_t i = 0; i < p->n; i++)
        used += p->range[i].len;
    if (off >= size || p->n == ST_PLAN_MAX)
        return;
    len = ST_MIN(len, size - off);
    len = ST_MIN(len, ST_PLAN_BYTES - ST_MIN(used, (uint64_t)ST_PLAN_BYTES));
    if (len) {
        p->range[p->n].off = off;
        p->range[p->n++].len = len;
    }
}

// What an executable of Go 1.13 to 1.17 needs: its build information is two pointers (so, no larger than the header
// that every version has) to string headers among the data, and those point to strings among the constants. Without the
// names: the data are the sections that are written to and not executed, the constants the first of the others of
// more than a page (the strings of an interpreter or notes may stand before).
static void plan_pointed(struct st_sv table, const struct elf_head *h, uint64_t size, struct st_plan *ret)
{
    uint64_t start = 0, end = 0;
    bool constants = false;
    for (unsigned i = 0; i < h->shnum; i++) {
        struct elf_section s = elf_section(table, h->shentsize, i, h->is64, h->big);
        uint64_t s_end;
        if (s.type != ELF_SHT_PROGBITS || st_ckd_add(&s_end, s.off, s.size))
            continue;
        if ((s.flags & ELF_SHF_MASK) == ELF_SHF_ALLOC && s.size > GO_CONSTANTS_MIN && !constants) {
            constants = true;
            want(ret, s.off, s.size, size);
        }
        if ((s.flags & ELF_SHF_MASK) == (ELF_SHF_ALLOC | ELF_SHF_WRITE)) {
            start = end ? ST_MIN(start, s.off) : s.off;
            end = ST_MAX(end, s_end);
        }
    }
    want(ret, start, end - start, size);
}

// Section headers in the head (Go's own linker puts them there): the names and the two sections can be named exactly.
static bool plan_exact(struct st_sv head, uint64_t size, const struct elf_head *h, struct st_plan *ret)
{
    if (h->shoff > head.len || (uint64_t)h->shnum * h->shentsize > head.len - h->shoff || h->shstrndx >= h->shnum)
        return false;
    struct st_sv table = st_sv_sub(head, (size_t)h->shoff, (size_t)h->shnum * h->shentsize);
    struct elf_section names = elf_section(table, h->shentsize, h->shstrndx, h->is64, h->big);
    want(ret, names.off, ST_MIN(names.size, (uint64_t)SECTIONS_PLAN_MAX), size);
    // Without the names: .go.buildinfo is the first section that is written to and not executed.
    for (unsigned i = 0; i < h->shnum; i++) {
        struct elf_section s = elf_section(table, h->shentsize, i, h->is64, h->big);
        if ((s.flags & ELF_SHF_MASK) == (ELF_SHF_ALLOC | ELF_SHF_WRITE) && s.type != ELF_SHT_NOBITS) {
            if (s.size <= GO_POINTERS_SIZE)
                plan_pointed(table, h, size, ret);
            else
                want(ret, s.off, ST_EXE_PLAN_STRINGS, size);
            break;
        }
    }
    return true;
}

static void plan_elf(struct st_sv head, uint64_t size, struct st_plan *ret)
{
    struct elf_head h;
    if (!elf_head(head, &h) || (h.shnum == 0 && h.phnum == 0))
        return;
    want(ret, 0, ST_PLAN_HEAD, size);
    uint64_t ph = (uint64_t)h.phnum * h.phentsize, sh = ST_MIN((uint64_t)h.shnum * h.shentsize, SECTIONS_PLAN_MAX);
    bool sections = h.shoff && h.shnum && h.shoff < size, ph_in_head = h.phoff <= head.len && ph <= head.len - h.phoff;
    if (!ph_in_head)
        want(ret, h.phoff, ST_MIN(ph, (uint64_t)SECTIONS_PLAN_MAX), size);
    if (sections && plan_exact(head, size, &h, ret))
        return;
    if (sections) {
        uint64_t before = ST_MIN(h.shoff, (uint64_t)NAMES_GUESS);
        want(ret, h.shoff - before, before + sh, size);
    }
    uint64_t start = 0, end = 0, relro = 0;
    for (unsigned i = 0; ph_in_head && i < h.phnum; i++) {
        struct elf_segment s = elf_segment(st_sv_from(head, (size_t)h.phoff), h.phentsize, i, h.is64, h.big);
        uint64_t s_end;
        if (st_ckd_add(&s_end, s.off, s.filesz))
            continue;
        if (s.type == ELF_PT_LOAD && (s.flags & (ELF_PF_W | ELF_PF_X)) == ELF_PF_W && s.filesz) {
            start = end ? start : s.off;
            end = s_end; // GNU ld makes one, lld two: one of constants with relocations, one of data
        }
        if (s.type == ELF_PT_GNU_RELRO)
            relro = s_end;
    }
    if (end == 0)
        return;
    // A system linker puts .go.buildinfo behind .data; constants with relocations stand before that.
    if (sections)
        start = relro > start && relro < end ? relro : start;
    want(ret, start, ST_MIN(end - ST_MIN(start, end), sections ? RELRO_WINDOW : ST_EXE_SEARCH + ST_EXE_PLAN_STRINGS),
         size);
}

static void want_section(const struct st_exe *x, const char *name, struct st_plan *ret)
{
    struct st_exe_part p;
    if (st_exe_section(x, NULL, name, &p) == ST_VIEW_OK)
        want(ret, p.off, p.size, x->size);
}

// One image whose tables lie in the head: its marker sections and the start of its data, and for Go 1.13 to 1.17 what
// plan_pointed says (a PE file does not tell: Go of any version, then).
static void plan_image(const struct st_view *v, struct st_sv head, struct st_plan *ret)
{
    struct st_exe x;
    struct st_exe_part p;
    static const char *const pointed[] = {"__rodata", "__noptrdata", "__data"};
    if (st_exe_open(&x, v, 0) != ST_VIEW_OK)
        return;
    want_section(&x, ".dep-v0", ret);
    if (st_exe_section(&x, NULL, "__go_buildinfo", &p) == ST_VIEW_OK) {
        want(ret, p.off, p.size, v->size);
        for (size_t i = 0; p.size <= GO_POINTERS_SIZE && i < ST_LEN(pointed); i++)
            want_section(&x, pointed[i], ret);
    } else if (x.format == ST_EXE_PE && st_sv_search(head, ST_SV("\xff Go build ID: ")) != ST_SV_NPOS) {
        want_section(&x, ".rdata", ret);
        want_section(&x, ".data", ret);
    } else if (st_exe_data(&x, &p) == ST_VIEW_OK) {
        want(ret, p.off, ST_MIN(p.size, ST_EXE_SEARCH + ST_EXE_PLAN_STRINGS), v->size);
    }
}

int st_exe_plan(struct st_sv head, uint64_t size, struct st_plan *ret)
{
    ret->n = 0;
    if (!st_exe_magic(head, size) || size > ST_EXE_FILE_MAX)
        return 0;
    if (has(head, "\177ELF", 4)) {
        plan_elf(head, size, ret);
        return 0;
    }
    struct pe_head pe;
    if (has(head, "MZ", 2) && !pe_head(head, &pe))
        return 0; // DOS
    want(ret, 0, ST_PLAN_HEAD, size);
    struct st_span span = {0, head};
    plan_image(&(struct st_view){.size = size, .spans = &span, .n = 1}, head, ret);
    if (is_macho(head))
        want(ret, 0, ST_MIN(32 + get(head, 20, 4, (unsigned char)head.ptr[0] == 0xfe), (uint64_t)SECTIONS_PLAN_MAX),
             size);
    for (unsigned i = 0; is_fat(head) && i < FAT_PLAN_SLICES; i++) {
        uint64_t off, len;
        if (fat_slice(head, i, &off, &len))
            want(ret, off, ST_MIN(len, ST_PLAN_HEAD), size);
    }
    return 0;
}
