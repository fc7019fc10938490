/*
 * What a container looks like from within, in a form that does not differ from one
 * run to the next: for `hack/bench --verify`, which compares the floor with the rest.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static int order(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void show_sorted(char *line[], int count)
{
	qsort(line, count, sizeof *line, order);
	for (int i = 0; i < count; i++)
		puts(line[i]);
}

/* Root within its file system, mount point, options, type and source; no ids, no superblock. */
static void show_mounts(void)
{
	FILE *file = fopen("/proc/self/mountinfo", "r");
	char text[4096], root[1024], point[1024], options[256], type[64], *line[256];
	int count = 0, read;
	if (!file)
		return;
	while (count < 256 && fgets(text, sizeof text, file)) {
		char *tail = strstr(text, " - ");
		if (!tail || sscanf(text, "%*d %*d %*s %1023s %1023s %255s%n", root, point, options, &read) != 3)
			continue;
		sscanf(tail, " - %63s", type);
		if (!strcmp(type, "tmpfs") || !strcmp(point, "/"))
			strcpy(root, "/");
		if (asprintf(&line[count], "mount %s %s %s %s%s", point, type, root, options,
			strstr(text, "shared:") ? " shared" : "") > 0)
			count++;
	}
	fclose(file);
	show_sorted(line, count);
}

static void show_lines(const char *path, const char *const starts[])
{
	FILE *file = fopen(path, "r");
	char text[4096];
	if (!file)
		return;
	while (fgets(text, sizeof text, file))
		for (const char *const *start = starts; *start; start++)
			if (!strncmp(text, *start, strlen(*start)))
				fputs(text, stdout);
	fclose(file);
}

static void show_folder(const char *path)
{
	DIR *folder = opendir(path);
	char *line[256], name[512], target[256];
	int count = 0;
	if (!folder)
		return;
	for (struct dirent *entry; count < 256 && (entry = readdir(folder));) {
		struct stat file;
		ssize_t length;
		snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
		if (!strcmp(entry->d_name, "..") || lstat(name, &file) < 0)
			continue;
		length = S_ISLNK(file.st_mode) ? readlink(name, target, sizeof target - 1) : 0;
		target[length > 0 ? length : 0] = 0;
		if (asprintf(&line[count], "file %s %o %u:%u %u:%u %s", name, file.st_mode, file.st_uid, file.st_gid,
			major(file.st_rdev), minor(file.st_rdev), target) > 0)
			count++;
	}
	closedir(folder);
	show_sorted(line, count);
}

int main(void)
{
	static const char *const status[] = { "Umask", "Uid", "Gid", "Groups", "Cap", "NoNewPrivs", "Seccomp:",
		"SigBlk", "SigIgn", "SigCgt", NULL };
	static const char *const limits[] = { "Max open files", NULL };
	static const char *const all[] = { "", NULL };
	static const char *const own[] = { "ipc", "mnt", "net", "pid", "user", "uts", "cgroup", "time" };
	char name[64], target[64];
	show_mounts();
	show_folder("/dev");
	show_folder("/proc/self/fd");
	show_lines("/proc/self/status", status);
	show_lines("/proc/self/limits", limits);
	show_lines("/proc/self/uid_map", all);
	show_lines("/proc/self/gid_map", all);
	for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
		snprintf(name, sizeof name, "/proc/self/ns/%s", own[i]);
		ssize_t length = readlink(name, target, sizeof target - 1);
		target[length > 0 ? length : 0] = 0;
		printf("namespace %s\n", target);
	}
	gethostname(name, sizeof name);
	printf("hostname %s, pid %d, session %d, cwd %s\n", name, getpid(), getsid(0), getcwd(target, sizeof target));
	return 0;
}
