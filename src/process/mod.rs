//! The processes of a start: who they are, and who says what to whom.
//!
//! One file per process, named as the process is in `ps`, in the log and in errors:
//!
//! | file          | process                                                             |
//! |---------------|---------------------------------------------------------------------|
//! | `parent`      | `rt create`, `rt run`: makes everything outside, answers init       |
//! | `bridge`      | short-lived, only to join namespaces that init has to be born into  |
//! | `init`        | becomes the payload: makes everything inside                        |
//! | `enter`       | the same for `rt exec`, in a container that is there already        |
//! | `checkpoint`  | `rt checkpoint`: has CRIU dump a container                          |
//! | `restore`     | `rt restore`: the parent's part where CRIU makes the container      |
//! | `criu`        | becomes `criu swrk` of the two                                      |
//! | `mounter`     | `rt mounts`: short-lived, changes the mounts of a running container |
//! | `foreground`  | `rt run` and `rt exec` once the payload runs: signals, tty, status  |
//!
//! and one file for each thing between them: `wire` (parent and init), `gate` (`rt start` and
//! init), `spawn`, `join`, `idmap`, `mounts` (what the parent mounts for init), `net_devices`,
//! `shield`, `notify` (the seccomp listener), `streams`, `external` (what a dump leaves out),
//! `images`, `sources` (what CRIU reads and binds), `payload` (the end that init and enter
//! share), `refusals` (why there is no payload), `record` (what is remembered).
//!
//! ```text
//!    parent                             init
//!      | clone3(namespaces, cgroup fd) ---> |
//!      | <------------------- MapIds ------ |  with a new user namespace of other ids
//!      | <------------------- EnterCgroup - |  where clone3 could not place it, or systemd does
//!      | <---------------- EnterDelegated - |  by an annotation
//!      | <------------------- NetDevices -- |  linux.netDevices
//!      | <------------------- MountFd(i) -- |  what only the parent can reach or map
//!      | <------------------- Nodes ------- |  linux.devices, with a user namespace
//!      | <------------------- RunHooks ---- |  prestart, createRuntime
//!      | <------------------- Console ----- |  with the pty's master
//!      | <------------------- NotifyFd ---- |  the seccomp listener, from init's messenger
//!      | <------------------- Ready ------- |  parent writes the state; create returns
//!      |                                    |
//!      |       `rt start` --- gate -------> |  (or the parent itself, in `rt run`)
//!      |                                    |  startContainer hooks (under the seccomp profile), execve
//!      | <------------------- outcome ----- |  a word of shared memory: at execve, or errno
//! ```
//!
//! init asks and the parent answers; the order above is the order of the protocol, and a
//! request out of order ends it. Requests hold no strings: the parent believes nothing that
//! comes from the container's side.

pub mod bridge;
pub mod checkpoint;
pub mod criu;
pub mod enter;
pub mod external;
pub mod foreground;
pub mod gate;
pub mod idmap;
pub mod images;
pub mod init;
pub mod join;
pub mod kernel;
pub mod mounter;
mod mounts;
pub mod net_devices;
pub mod notify;
pub mod parent;
pub mod payload;
mod post_mortem;
pub mod procfs;
pub mod readiness;
pub mod record;
pub mod refusals;
pub mod restore;
pub mod shield;
pub mod sources;
pub mod spawn;
pub mod streams;
pub mod trial;
pub mod wire;
