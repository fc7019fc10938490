/*
 * The floor: the system calls that the kernel needs to start one container, and
 * nothing else. No JSON is read, no state is kept, no path is checked. What a
 * container runtime takes beyond this time is its own.
 *
 *   floor [-d] [-c CGROUP] root|rootless ROOTFS [PROGRAM ARG...]
 *   floor [-c CGROUP] exec root|rootless PID [PROGRAM ARG...]
 *
 * root and rootless: what root.json and rootless.json ask for. PROGRAM is /true unless
 * given; the exit status is PROGRAM's. CGROUP is a path on cgroup2: `floor` makes and
 * removes it, `exec` enters it; without it, the payload stays in the caller's. -d leaves
 * out linux.resources (the device program) where a peer cannot load one.
 *
 * Each step names the field of config.json that asks for it, or says who does if none.
 * Whoever doubts a step: `hack/bench --verify`, or `strace -f` of both.
 *
 * What makes it fast, since a slow yardstick flatters everybody:
 * - mount(2), one call in place of five (fsopen and its followers). It follows string
 *   paths, so it trusts ROOTFS. A runtime may not; what that costs is to be seen.
 * - The child shares the parent's memory until execve (CLONE_VM | CLONE_VFORK, as in
 *   posix_spawn), so that no page table is copied.
 *
 * Needs Linux 5.12. Build: gcc -O2 -static -o floor floor.c
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/mount.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

/* <sys/mount.h> and <linux/mount.h> do not go together in every libc. */
int mount(const char *, const char *, const char *, unsigned long, const void *);
int umount2(const char *, int);
#define MNT_DETACH 2
#ifndef CLONE_INTO_CGROUP
#define CLONE_INTO_CGROUP 0x200000000ULL
#endif
#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC 4
#endif

enum mode { ROOT, ROOTLESS };

static void die(const char *call, const char *what)
{
	dprintf(2, "floor: %s: %s: %s\n", what, call, strerror(errno));
	_exit(1);
}

#define MUST(what, call) do { if ((call) < 0) die(#call, what); } while (0)

/* ------------------------------------------------- the parent: cgroup and clone */

#define LOAD(reg, field) \
	{ .code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = reg, .src_reg = BPF_REG_1, \
	  .off = offsetof(struct bpf_cgroup_dev_ctx, field) }
#define ALU(op, reg, value) { .code = BPF_ALU | op | BPF_K, .dst_reg = reg, .imm = value }
#define COPY(to, from) { .code = BPF_ALU | BPF_MOV | BPF_X, .dst_reg = to, .src_reg = from }
#define IF(reg, op, value, skip) \
	{ .code = BPF_JMP | op | BPF_K, .dst_reg = reg, .imm = value, .off = skip }
#define RETURN(value) ALU(BPF_MOV, BPF_REG_0, value), { .code = BPF_JMP | BPF_EXIT }

/*
 * linux.resources.devices: [{allow: false, access: rwm}]. The spec adds the default
 * devices, and runc and crun the making of any node (mknod alone gives no access).
 */
static void attach_device_program(int cgroup)
{
	enum { ACCESS = BPF_REG_2, TYPE, MAJOR, MINOR };
	static const struct bpf_insn program[] = {
		LOAD(TYPE, access_type),
		LOAD(MAJOR, major),
		LOAD(MINOR, minor),
		COPY(ACCESS, TYPE),
		ALU(BPF_RSH, ACCESS, 16),
		IF(ACCESS, BPF_JNE, BPF_DEVCG_ACC_MKNOD, 2),
		RETURN(1),
		ALU(BPF_AND, TYPE, 0xffff),
		IF(TYPE, BPF_JNE, BPF_DEVCG_DEV_CHAR, 9),
		IF(MAJOR, BPF_JEQ, 136, 10),                    /* pts/N */
		IF(MAJOR, BPF_JEQ, 5, 6),
		IF(MAJOR, BPF_JNE, 1, 6),
		IF(MINOR, BPF_JEQ, 3, 7),                       /* null */
		IF(MINOR, BPF_JEQ, 5, 6),                       /* zero */
		IF(MINOR, BPF_JEQ, 7, 5),                       /* full */
		IF(MINOR, BPF_JEQ, 8, 4),                       /* random */
		IF(MINOR, BPF_JEQ, 9, 3),                       /* urandom */
		IF(MINOR, BPF_JLE, 2, 2),                       /* tty, console, ptmx */
		RETURN(0),
		RETURN(1),
	};
	union bpf_attr load = {
		.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE,
		.insns = (uintptr_t)program,
		.insn_cnt = sizeof program / sizeof *program,
		.license = (uintptr_t)"Apache-2.0",
	};
	int fd = syscall(SYS_bpf, BPF_PROG_LOAD, &load, sizeof load);
	MUST("linux.resources.devices", fd);
	union bpf_attr attach = {
		.target_fd = cgroup,
		.attach_bpf_fd = fd,
		.attach_type = BPF_CGROUP_DEVICE,
		.attach_flags = BPF_F_ALLOW_MULTI,
	};
	MUST("linux.resources.devices", syscall(SYS_bpf, BPF_PROG_ATTACH, &attach, sizeof attach));
	close(fd);
}

struct clone_request {
	uint64_t flags, pidfd, child_tid, parent_tid, exit_signal;
	uint64_t stack, stack_size, tls, set_tid, set_tid_size, cgroup;
};

/* What the child has to know. */
struct child {
	enum mode mode;
	const char *rootfs;
	uid_t uid;
	gid_t gid;
	char *const *argv;
};

/*
 * Clones into `cgroup` (-1: stay) with `namespaces`; the child calls `entry`. On x86-64 it
 * shares the memory, so it has a stack of its own, and the parent goes on after its execve.
 */
static pid_t clone_child(uint64_t namespaces, int cgroup, void (*entry)(struct child *), struct child *child)
{
	struct clone_request request = {
		.flags = namespaces | (cgroup >= 0 ? CLONE_INTO_CGROUP : 0),
		.exit_signal = SIGCHLD,
		.cgroup = cgroup >= 0 ? cgroup : 0,
	};
	long result;
#ifdef __x86_64__
	static char stack[64 * 1024] __attribute__((aligned(16)));
	request.flags |= CLONE_VM | CLONE_VFORK;
	request.stack = (uintptr_t)stack;
	request.stack_size = sizeof stack;
	__asm__ volatile(
		"syscall\n\t"
		"test %%rax, %%rax\n\t"
		"jnz 1f\n\t"
		"mov %[child], %%rdi\n\t"
		"call *%[entry]\n\t"
		"ud2\n"
		"1:"
		: "=a"(result)
		: "0"(SYS_clone3), "D"(&request), "S"(sizeof request), [entry] "r"(entry), [child] "r"(child)
		: "rcx", "r11", "cc", "memory");
	if (result < 0)
		errno = -result;
#else
	result = syscall(SYS_clone3, &request, sizeof request);
	if (result == 0)
		entry(child);
#endif
	MUST("linux.namespaces", result);
	return result;
}

static int wait_for(pid_t child)
{
	int status;
	MUST("payload", waitpid(child, &status, 0));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* ------------------------------------------------------- the child: file system */

#define SAFE (MS_NOSUID | MS_NODEV | MS_NOEXEC)

/*
 * mounts[6], rootless. /sys has brought the host's cgroup2 along, and mount(2) refuses
 * to put a file system on itself (EBUSY; crun then puts a tmpfs between them, runc
 * gives up and shows an empty folder). move_mount(2) does not mind.
 */
static void mount_cgroup_on_cgroup(const char *target)
{
	int context = syscall(SYS_fsopen, "cgroup2", FSOPEN_CLOEXEC);
	MUST("mounts[6]", context);
	MUST("mounts[6]", syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0));
	int made = syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC,
		MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	MUST("mounts[6]", made);
	MUST("mounts[6]", syscall(SYS_move_mount, made, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH));
	close(made);
	close(context);
}

/* mounts[], in their order; all paths are relative to the root file system. */
static void mount_all(enum mode mode)
{
	MUST("mounts[0]", mount("proc", "proc", "proc", 0, NULL));
	MUST("mounts[1]", mount("tmpfs", "dev", "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k"));
	MUST("mounts[2]", mkdir("dev/pts", 0755));
	MUST("mounts[2]", mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC,
		mode == ROOT ? "newinstance,ptmxmode=0666,mode=0620,gid=5" : "newinstance,ptmxmode=0666,mode=0620"));
	MUST("mounts[3]", mkdir("dev/shm", 0755));
	MUST("mounts[3]", mount("shm", "dev/shm", "tmpfs", SAFE, "mode=1777,size=65536k"));
	MUST("mounts[4]", mkdir("dev/mqueue", 0755));
	MUST("mounts[4]", mount("mqueue", "dev/mqueue", "mqueue", SAFE, NULL));
	if (mode == ROOT) {
		MUST("mounts[5]", mount("sysfs", "sys", "sysfs", SAFE | MS_RDONLY, NULL));
		MUST("mounts[6]", mount("cgroup", "sys/fs/cgroup", "cgroup2", SAFE | MS_RELATIME | MS_RDONLY, NULL));
	} else {
		MUST("mounts[5]", mount("/sys", "sys", NULL, MS_BIND | MS_REC, NULL));
		MUST("mounts[5]", mount(NULL, "sys", NULL, MS_REMOUNT | MS_BIND | SAFE | MS_RDONLY, NULL));
		mount_cgroup_on_cgroup("sys/fs/cgroup");
	}
}

/* The spec asks for these whatever config.json says: "Default Devices" and "Dev symbolic links". */
static void make_devices(enum mode mode)
{
	static const struct { const char *beneath, *host; int major, minor; } devices[] = {
		{ "dev/null", "/dev/null", 1, 3 },     { "dev/zero", "/dev/zero", 1, 5 },
		{ "dev/full", "/dev/full", 1, 7 },     { "dev/random", "/dev/random", 1, 8 },
		{ "dev/urandom", "/dev/urandom", 1, 9 }, { "dev/tty", "/dev/tty", 5, 0 },
	};
	for (size_t i = 0; i < sizeof devices / sizeof *devices; i++) {
		if (mode == ROOT) {
			MUST(devices[i].beneath, mknod(devices[i].beneath, S_IFCHR | 0666,
				makedev(devices[i].major, devices[i].minor)));
		} else {	/* mknod is not for a user namespace: the host's nodes are bound */
			MUST(devices[i].beneath, mknod(devices[i].beneath, S_IFREG | 0666, 0));
			MUST(devices[i].beneath, mount(devices[i].host, devices[i].beneath, NULL, MS_BIND, NULL));
		}
	}
	MUST("dev/fd", symlink("/proc/self/fd", "dev/fd"));
	MUST("dev/stdin", symlink("/proc/self/fd/0", "dev/stdin"));
	MUST("dev/stdout", symlink("/proc/self/fd/1", "dev/stdout"));
	MUST("dev/stderr", symlink("/proc/self/fd/2", "dev/stderr"));
	MUST("dev/ptmx", symlink("pts/ptmx", "dev/ptmx"));
}

/* linux.readonlyPaths and linux.maskedPaths. Paths that this kernel lacks are passed over, as the spec says. */
static void protect_paths(void)
{
	static const char *const readonly[] = { "proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger" };
	static const char *const masked[] = {
		"proc/acpi", "proc/asound", "proc/kcore", "proc/keys", "proc/latency_stats", "proc/timer_list",
		"proc/timer_stats", "proc/sched_debug", "sys/firmware", "proc/scsi",
	};
	for (size_t i = 0; i < sizeof readonly / sizeof *readonly; i++) {
		if (mount(readonly[i], readonly[i], NULL, MS_BIND | MS_REC, NULL) == 0)
			MUST(readonly[i], mount(NULL, readonly[i], NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL));
		else if (errno != ENOENT)
			die("mount", readonly[i]);
	}
	/* stat first: a bind that is refused (ENOTDIR) has a mount to throw away, and for
	 * that the kernel waits for an RCU grace period. */
	const char *empty = NULL;	/* a folder is covered by an empty read-only tmpfs, the same for all */
	for (size_t i = 0; i < sizeof masked / sizeof *masked; i++) {
		struct stat target;
		if (stat(masked[i], &target) < 0) {
			if (errno != ENOENT)
				die("stat", masked[i]);
			continue;
		}
		if (!S_ISDIR(target.st_mode)) {
			MUST(masked[i], mount("dev/null", masked[i], NULL, MS_BIND, NULL));
			continue;
		}
		if (empty)
			MUST(masked[i], mount(empty, masked[i], NULL, MS_BIND, NULL));
		else
			MUST(masked[i], mount("tmpfs", empty = masked[i], "tmpfs", MS_RDONLY, NULL));
	}
}

static void enter_root(const char *rootfs, enum mode mode)
{
	/* linux.rootfsPropagation is absent: nothing that follows may reach the host. In a
	 * new user namespace the kernel has seen to it: mount_namespaces(7). */
	if (mode == ROOT)
		MUST("linux.rootfsPropagation", mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL));
	MUST("root.path", mount(rootfs, rootfs, NULL, MS_BIND | MS_REC, NULL));
	MUST("root.path", chdir(rootfs));
	umask(0);
	mount_all(mode);
	make_devices(mode);
	protect_paths();
	/* root.readonly. mount_setattr adds a flag and keeps those the host has locked. */
	struct mount_attr readonly = { .attr_set = MOUNT_ATTR_RDONLY };
	MUST("root.readonly", syscall(SYS_mount_setattr, AT_FDCWD, ".", 0, &readonly, sizeof readonly));
	MUST("root.path", syscall(SYS_pivot_root, ".", "."));
	MUST("root.path", umount2(".", MNT_DETACH));
}

/* ----------------------------------------------------------- the child: process */

/* process.capabilities: the same three in each set. */
#define CAPABILITIES (1U << CAP_AUDIT_WRITE | 1U << CAP_KILL | 1U << CAP_NET_BIND_SERVICE)

static void limit_process(enum mode mode)
{
	struct rlimit files = { 1024, 1024 };
	MUST("process.rlimits", setrlimit(RLIMIT_NOFILE, &files));

	for (int cap = 0; ; cap++) {
		if (cap < 32 && CAPABILITIES & 1U << cap)
			continue;
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0) {
			if (errno == EINVAL)	/* past the kernel's last capability */
				break;
			die("prctl", "process.capabilities.bounding");
		}
	}
	if (mode == ROOT) {	/* process.user; rootless, it is what the one mapping gives */
		MUST("process.user.additionalGids", setgroups(0, NULL));
		MUST("process.user.gid", setresgid(0, 0, 0));
		MUST("process.user.uid", setresuid(0, 0, 0));
	}
	/* `ambient` names capabilities that are not inheritable, which the kernel refuses
	 * to raise: the ambient set ends up empty under runc and crun too. */
	MUST("process.capabilities.ambient", prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0));
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct sets[2] = { { .effective = CAPABILITIES, .permitted = CAPABILITIES } };
	MUST("process.capabilities", syscall(SYS_capset, &header, sets));
	MUST("process.noNewPrivileges", prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
}

static void run_payload(struct child *child)
{
	static char *const env[] = {	/* process.env */
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm", NULL,
	};
	/* process.terminal: false. No console, but a session of its own, as runc and crun do. */
	MUST("process", setsid());
	limit_process(child->mode);
	umask(0022);	/* process.user.umask is absent: runc's and crun's default */
	MUST("process.cwd", chdir("/"));
	/* No field: a descriptor of the host must not reach the payload. */
	MUST("close_range", syscall(SYS_close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC));
	execve(child->argv[0], child->argv, env);
	die("execve", "process.args");
}

static void write_map(const char *file, const char *text, size_t length)
{
	int fd = open(file, O_WRONLY | O_CLOEXEC);
	MUST(file, fd);
	MUST(file, write(fd, text, length));
	close(fd);
}

/* linux.uidMappings and gidMappings: the caller is 0. One id of one's own needs no privilege, so the child does it. */
static void map_caller(const struct child *child)
{
	char line[32];
	write_map("/proc/self/setgroups", "deny", 4);
	write_map("/proc/self/uid_map", line, snprintf(line, sizeof line, "0 %u 1", child->uid));
	write_map("/proc/self/gid_map", line, snprintf(line, sizeof line, "0 %u 1", child->gid));
}

static void loopback_up(void)
{
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	MUST("linux.namespaces[network]", fd);
	MUST("linux.namespaces[network]", ioctl(fd, SIOCSIFFLAGS, &lo));
	close(fd);
}

/* ---------------------------------------------------------------- the two verbs */

#define COMMON_NAMESPACES (CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNS | CLONE_NEWCGROUP)

static void run_child(struct child *child)
{
	if (child->mode == ROOTLESS)
		map_caller(child);
	else
		loopback_up();
	enter_root(child->rootfs, child->mode);
	MUST("hostname", sethostname("runc", 4));
	run_payload(child);
}

static int run(enum mode mode, int device_program, const char *cgroup_path, const char *rootfs, char *const argv[])
{
	/* linux.cgroupsPath is absent: a name of the caller's choice. A user who may not make it goes on without. */
	int cgroup = -1;
	if (cgroup_path && mkdir(cgroup_path, 0755) == 0) {
		MUST(cgroup_path, cgroup = open(cgroup_path, O_PATH | O_DIRECTORY | O_CLOEXEC));
		if (mode == ROOT && device_program)
			attach_device_program(cgroup);
	} else if (cgroup_path && mode == ROOT) {
		die("mkdir", cgroup_path);
	}
	struct child child = { mode, rootfs, geteuid(), getegid(), argv };
	uint64_t namespaces = COMMON_NAMESPACES | (mode == ROOT ? CLONE_NEWNET : CLONE_NEWUSER);
	int status = wait_for(clone_child(namespaces, cgroup, run_child, &child));
	if (cgroup >= 0)
		MUST(cgroup_path, rmdir(cgroup_path));
	return status;
}

/* What `exec` needs: join the namespaces of PID and its cgroup, then the same process.* as above. */
static int exec(enum mode mode, const char *cgroup_path, const char *pid, char *const argv[])
{
	int cgroup = -1;
	int pidfd = syscall(SYS_pidfd_open, atoi(pid), 0);
	MUST(pid, pidfd);
	if (cgroup_path)
		MUST(cgroup_path, cgroup = open(cgroup_path, O_PATH | O_DIRECTORY | O_CLOEXEC));
	MUST(pid, setns(pidfd, COMMON_NAMESPACES | (mode == ROOT ? CLONE_NEWNET : CLONE_NEWUSER)));
	struct child child = { .mode = mode, .argv = argv };
	return wait_for(clone_child(0, cgroup, run_payload, &child));
}

int main(int argc, char *argv[])
{
	int option, device_program = 1, joins = 0;
	const char *cgroup = NULL;
	while ((option = getopt(argc, argv, "+dc:")) != -1) {
		if (option == 'd')
			device_program = 0;
		else if (option == 'c')
			cgroup = optarg;
		else
			optind = argc;
	}
	argv += optind;
	argc -= optind;
	if (argc > 0 && !strcmp(argv[0], "exec"))
		joins = 1, argv++, argc--;
	if (argc < 2 || (strcmp(argv[0], "root") && strcmp(argv[0], "rootless"))) {
		dprintf(2, "usage: floor [-d] [-c CGROUP] root|rootless ROOTFS [PROGRAM ARG...]\n"
			"       floor [-c CGROUP] exec root|rootless PID [PROGRAM ARG...]\n");
		return 2;
	}
	static char *const default_payload[] = { "/true", NULL };
	enum mode mode = strcmp(argv[0], "root") ? ROOTLESS : ROOT;
	char *const *payload = argc > 2 ? argv + 2 : default_payload;
	return joins ? exec(mode, cgroup, argv[1], payload) : run(mode, device_program, cgroup, argv[1], payload);
}
