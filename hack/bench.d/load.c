/*
 * How long the kernel takes to load a seccomp program: load TIMES < PROGRAM
 *
 * PROGRAM is an array of struct sock_filter. Each time a child of fork(2) loads it, since there
 * is no way back, and is killed: it may not be allowed to end by itself. Prints the
 * nanoseconds of each seccomp(2), a line each.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct sock_filter program[BPF_MAXINSNS];

/* What the child says; 0 until then. */
static volatile long *word;

static void load(const struct sock_fprog *filter)
{
	struct timespec start, end;

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	clock_gettime(CLOCK_MONOTONIC, &start);
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, filter) < 0) {
		*word = -errno;
		return;
	}
	clock_gettime(CLOCK_MONOTONIC, &end);	/* of the vDSO: no system call */
	*word = (end.tv_sec - start.tv_sec) * 1000000000L + end.tv_nsec - start.tv_nsec;
}

int main(int argc, char **argv)
{
	size_t length = fread(program, sizeof *program, BPF_MAXINSNS, stdin);
	struct sock_fprog filter = { (unsigned short)length, program };
	int times = argc > 1 ? atoi(argv[1]) : 1;

	word = mmap(NULL, sizeof *word, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (word == MAP_FAILED)
		return 1;
	for (int i = 0; i < times; i++) {
		pid_t child;

		*word = 0;
		child = fork();
		if (child < 0)
			return 1;
		if (child == 0) {
			load(&filter);
			for (;;)
				;	/* no call that the program might judge */
		}
		while (*word == 0 && waitpid(child, NULL, WNOHANG) == 0)
			;
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
		if (*word <= 0) {
			fprintf(stderr, "load: seccomp: %s\n", strerror(*word ? (int)-*word : ECHILD));
			return 1;
		}
		printf("%ld\n", *word);
	}
	return 0;
}
