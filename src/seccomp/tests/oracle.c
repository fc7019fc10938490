/*
 * The oracle of the seccomp tests: libseccomp, fed as runc feeds it. Built by the tests with
 * `gcc oracle.c -lseccomp`; no part of rt.
 *
 * Reads requests from stdin, one word line each, answers on stdout:
 *
 *   number TOKEN NAME               answers the number of a call on an architecture, "NUMBER\n";
 *                                   negative where there is none, or where it is bundled
 *   playable NAME                   answers "1\n" if the native number of NAME, which may be a
 *                                   made-up one, leads back to NAME: rules pass through it on
 *                                   their way to other architectures
 *   profile DEFAULT                 begins a profile; DEFAULT and actions are SCMP_ACT_* numbers
 *   arch TOKEN                      an architecture beside the native one
 *   without TOKEN                   takes one away again (the native one, to play another machine)
 *   rule ACTION NAME COUNT [INDEX OP A B]...
 *   end                             answers "LENGTH\n" and LENGTH instructions of 8 bytes,
 *                                   or "-ERRNO\n"
 */
#define _GNU_SOURCE
#include <errno.h>
#include <seccomp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* One rule, as runc's matchCall adds it. */
static int add(scmp_filter_ctx filter, uint32_t defaults, uint32_t action, const char *name,
               unsigned count, const struct scmp_arg_cmp *conditions)
{
    int number, error = 0, repeated = 0;
    unsigned seen = 0;

    if (action == defaults)
        return 0;
    number = seccomp_syscall_resolve_name(name);
    if (number == __NR_SCMP_ERROR)
        return 0;
    for (unsigned n = 0; n < count; n++) {
        repeated |= seen & (1u << conditions[n].arg);
        seen |= 1u << conditions[n].arg;
    }
    if (!repeated)
        return seccomp_rule_add_array(filter, action, number, count, conditions);
    for (unsigned n = 0; n < count && error == 0; n++)
        error = seccomp_rule_add_array(filter, action, number, 1, &conditions[n]);
    return error;
}

static void answer(scmp_filter_ctx filter, int error)
{
    int fd = memfd_create("bpf", 0);
    off_t size;
    void *program;

    if (error == 0)
        error = seccomp_export_bpf(filter, fd);
    if (error != 0) {
        printf("%d\n", error);
    } else {
        size = lseek(fd, 0, SEEK_END);
        program = mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED, fd, 0);
        printf("%ld\n", (long)(size / 8));
        fwrite(program, 8, (size_t)size / 8, stdout);
        munmap(program, (size_t)size);
    }
    fflush(stdout);
    close(fd);
}

int main(void)
{
    char line[4096], name[64];
    scmp_filter_ctx filter = NULL;
    uint32_t defaults = 0, value;
    int error = 0, used;

    while (fgets(line, sizeof line, stdin) != NULL) {
        if (sscanf(line, "number %u %63s", &value, name) == 2) {
            printf("%d\n", seccomp_syscall_resolve_name_arch(value, name));
            fflush(stdout);
        } else if (sscanf(line, "playable %63s", name) == 1) {
            int number = seccomp_syscall_resolve_name(name);
            char *back = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, number);
            printf("%d\n", back != NULL && strcmp(back, name) == 0);
            fflush(stdout);
            free(back);
        } else if (sscanf(line, "profile %u", &value) == 1) {
            defaults = value;
            filter = seccomp_init(defaults);
            error = filter == NULL ? -EINVAL : 0;
        } else if (sscanf(line, "arch %u", &value) == 1) {
            int rc = seccomp_arch_add(filter, value);
            if (rc != 0 && rc != -EEXIST && error == 0)
                error = rc;
        } else if (sscanf(line, "without %u", &value) == 1) {
            int rc = seccomp_arch_remove(filter, value);
            if (error == 0)
                error = rc;
        } else if (strncmp(line, "rule ", 5) == 0) {
            struct scmp_arg_cmp conditions[16];
            unsigned count = 0;
            char *at = line;

            if (sscanf(at, "rule %u %63s %u%n", &value, name, &count, &used) != 3 || count > 16)
                return 2;
            at += used;
            for (unsigned n = 0; n < count; n++) {
                unsigned index, op;
                unsigned long long a, b;
                if (sscanf(at, "%u %u %llu %llu%n", &index, &op, &a, &b, &used) != 4)
                    return 2;
                conditions[n] = (struct scmp_arg_cmp){ index, op, a, b };
                at += used;
            }
            if (error == 0)
                error = add(filter, defaults, value, name, count, conditions);
        } else if (strcmp(line, "end\n") == 0) {
            answer(filter, error);
            seccomp_release(filter);
            filter = NULL;
        } else {
            return 2;
        }
    }
    return 0;
}
