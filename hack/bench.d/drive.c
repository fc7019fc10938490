/*
 * Runs the commands of a plan round after round and prints how long each took.
 * A shell or Python loop would add its own start to every figure.
 *
 *   drive ROUNDS < plan
 *
 * The plan has one line for each word group, fields parted by tabs:
 *   case LABEL          begins a case: its steps are timed together
 *   run PROGRAM ARG...  a step; `@` in an argument becomes a number, new each time
 *   reap                a step: wait until every orphan has ended (as conmon does)
 * Output, for each case in each round: LABEL, microseconds, peak memory in KiB.
 * A step that fails ends its case for good: LABEL, `failed`, the command.
 *
 * The order is shuffled in each round, so that what one case leaves for the kernel to
 * do later is not always charged to the same neighbour. Round 0 warms up, unprinted.
 *
 * Peak memory is wait4's ru_maxrss: the largest process of the step, among those it
 * waited for. It cannot read lower than this program's own, whose memory a child has
 * until execve.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

enum { MAX_CASES = 64, MAX_STEPS = 8, MAX_ARGS = 24 };

struct step { int argc; char *argv[MAX_ARGS + 1]; };	/* argc 0: reap */
struct one_case { const char *label; int steps, failed; struct step step[MAX_STEPS]; };

static struct one_case cases[MAX_CASES];
static int case_count;
static posix_spawn_file_actions_t quiet;

static _Noreturn void give_up(const char *why)
{
	fprintf(stderr, "drive: %s\n", why);
	exit(1);
}

static void read_plan(void)
{
	char *line = NULL;
	size_t size = 0;
	while (getline(&line, &size, stdin) > 0) {
		char *rest = strdup(line), *word = strsep(&rest, "\t\n");
		struct one_case *current = &cases[case_count - 1];
		if (!strcmp(word, "case")) {
			if (case_count == MAX_CASES)
				give_up("too many cases");
			cases[case_count++].label = strsep(&rest, "\t\n");
			continue;
		}
		if (case_count == 0 || current->steps == MAX_STEPS)
			give_up("a step without a case, or too many");
		struct step *step = &current->step[current->steps++];
		if (!strcmp(word, "run")) {
			while ((word = strsep(&rest, "\t\n")) && *word) {
				if (step->argc == MAX_ARGS)
					give_up("too many arguments");
				step->argv[step->argc++] = word;
			}
		} else if (strcmp(word, "reap")) {
			give_up("neither case, run nor reap");
		}
	}
	free(line);
}

static double now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

/* Exit status 0 is true; raises *peak_kib to the step's. */
static int run_step(const struct step *step, unsigned number, long *peak_kib)
{
	int status;
	pid_t child;
	struct rusage usage;
	if (step->argc == 0) {
		while (waitpid(-1, &status, 0) > 0 || errno == EINTR)
			;
		return 1;
	}
	char buffers[MAX_ARGS][256], *argv[MAX_ARGS + 1] = { NULL };
	for (int i = 0; i < step->argc; i++) {
		char *at = strchr(step->argv[i], '@');
		argv[i] = step->argv[i];
		if (at) {
			snprintf(buffers[i], sizeof buffers[i], "%.*s%u%s", (int)(at - argv[i]), argv[i], number, at + 1);
			argv[i] = buffers[i];
		}
	}
	if (posix_spawn(&child, argv[0], &quiet, NULL, argv, environ) != 0 || wait4(child, &status, 0, &usage) != child)
		return 0;
	if (usage.ru_maxrss > *peak_kib)
		*peak_kib = usage.ru_maxrss;
	return status == 0;
}

static void run_case(struct one_case *one, unsigned number, int printed)
{
	long peak_kib = 0;
	double start_us = now_us();
	for (int i = 0; i < one->steps; i++) {
		if (!run_step(&one->step[i], number, &peak_kib)) {
			one->failed = 1;
			printf("%s\tfailed\t", one->label);
			for (int j = 0; j < one->step[i].argc; j++)
				printf("%s ", one->step[i].argv[j]);
			printf("\n");
			return;
		}
	}
	double end_us = now_us();
	if (printed)
		printf("%s\t%.1f\t%ld\n", one->label, end_us - start_us, peak_kib);
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
}

int main(int argc, char *argv[])
{
	int rounds = argc == 2 ? atoi(argv[1]) : 0;
	if (rounds < 1)
		give_up("usage: drive ROUNDS < plan");
	read_plan();
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	posix_spawn_file_actions_init(&quiet);
	posix_spawn_file_actions_addopen(&quiet, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&quiet, 1, "/dev/null", O_WRONLY, 0);

	int order[MAX_CASES];
	for (int i = 0; i < case_count; i++)
		order[i] = i;
	unsigned number = 0;
	srandom(1);
	for (int round = 0; round <= rounds; round++) {
		for (int i = case_count - 1; i > 0; i--) {
			int j = random() % (i + 1), swapped = order[i];
			order[i] = order[j];
			order[j] = swapped;
		}
		for (int i = 0; i < case_count; i++)
			if (!cases[order[i]].failed)
				run_case(&cases[order[i]], ++number, round > 0);
	}
	return 0;
}
