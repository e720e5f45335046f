"""Owns the system calls that a container may make: everything that is not named here fails with EPERM.

Allowed is what programs need for files, memory, processes, sockets, signals, time and waiting, within their own
namespaces. Not allowed: mounting, other namespaces, modules, kexec, BPF, performance counters, io_uring,
userfaultfd, keyrings, opening by file handle, the machine's clocks and names, and families of sockets other than
local, internet, netlink and packet. A machine's 32-bit calls are allowed to images of that architecture alone:
their ``socketcall`` hides the family, and any program can make them. ``clone3`` fails with ENOSYS: a filter cannot
see its flags, and C libraries then fall back to ``clone``. Source: OCI runtime-spec 1.1 "Seccomp"; seccomp(2),
syscalls(2).
"""

from __future__ import annotations

from typing import Any

_EPERM, _ENOSYS = 1, 38
_NEW_NAMESPACES = 0x7E020000  # CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK, _AF_PACKET = 1, 2, 10, 16, 17
_PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)  # Linux, 32-bit, both with UNAME26; and asking

_FILES = """
access chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2
fadvise64 fadvise64_64 arm_fadvise64_64 fallocate fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl
fcntl64 fdatasync fgetxattr flistxattr flock fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync
ftruncate ftruncate64 futimesat getcwd getdents getdents64 getxattr inotify_add_watch inotify_init inotify_init1
inotify_rm_watch ioctl lchown lchown32 lgetxattr link linkat listxattr llistxattr _llseek lremovexattr lseek
lsetxattr lstat lstat64 mkdir mkdirat mknod mknodat newfstatat open openat openat2 pipe pipe2 pread64 preadv
preadv2 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv removexattr rename renameat renameat2
rmdir sendfile sendfile64 setxattr splice stat stat64 statfs statfs64 statx symlink symlinkat sync sync_file_range
sync_file_range2 syncfs tee truncate truncate64 umask unlink unlinkat utime utimensat utimensat_time64 utimes
vmsplice write writev chroot name_to_handle_at memfd_create memfd_secret getxattrat setxattrat listxattrat
removexattrat
"""
_MEMORY = """
brk get_mempolicy madvise map_shadow_stack mbind membarrier mincore mlock mlock2 mlockall mmap mmap2 mprotect
mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect process_madvise process_mrelease
remap_file_pages set_mempolicy set_mempolicy_home_node
"""
_PROCESSES = """
arch_prctl capget capset execve execveat exit exit_group fork vfork get_robust_list get_thread_area getcpu getegid
getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getpgid getpgrp getpid getppid getpriority
getrandom getresgid getresgid32 getresuid getresuid32 getrlimit getrusage getsid gettid getuid getuid32 ioprio_get
ioprio_set landlock_add_rule landlock_create_ruleset landlock_restrict_self modify_ldt pidfd_open
pidfd_send_signal prctl prlimit64 ptrace process_vm_readv process_vm_writev riscv_flush_icache riscv_hwprobe rseq
sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler
sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam
sched_setscheduler sched_yield seccomp set_robust_list set_thread_area set_tid_address set_tls setfsgid setfsgid32
setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setpgid setpriority setregid setregid32 setresgid
setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit setsid setuid setuid32 sysinfo times ugetrlimit
uname wait4 waitid waitpid cacheflush breakpoint arm_sync_file_range
"""
_SIGNALS_AND_WAITING = """
alarm epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd
eventfd2 futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake kill pause poll ppoll ppoll_time64
pselect6 pselect6_time64 restart_syscall rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn
rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo select _newselect sigaltstack signal
signalfd signalfd4 sigaction sigpending sigprocmask sigreturn sigsuspend tgkill tkill
"""
_TIME = """
adjtimex clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64
clock_nanosleep clock_nanosleep_time64 getitimer gettimeofday nanosleep setitimer time timer_create timer_delete
timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime
timerfd_gettime64 timerfd_settime timerfd_settime64
"""
_SOCKETS_AND_QUEUES = """
accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg recvmmsg_time64
recvmsg send sendmmsg sendmsg sendto setsockopt shutdown socketpair ipc mq_getsetattr mq_notify mq_open
mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink msgctl msgget msgrcv msgsnd
semctl semget semop semtimedop semtimedop_time64 shmat shmctl shmdt shmget io_cancel io_destroy io_getevents
io_pgetevents io_pgetevents_time64 io_setup io_submit
"""

ALLOWED = tuple(
    sorted(
        {
            name
            for group in (_FILES, _MEMORY, _PROCESSES, _SIGNALS_AND_WAITING, _TIME, _SOCKETS_AND_QUEUES)
            for name in group.split()
        }
    )
)

_ARCHITECTURES = {
    "amd64": "SCMP_ARCH_X86_64",
    "arm64": "SCMP_ARCH_AARCH64",
    "arm": "SCMP_ARCH_ARM",
    "386": "SCMP_ARCH_X86",
    "ppc64le": "SCMP_ARCH_PPC64LE",
    "riscv64": "SCMP_ARCH_RISCV64",
    "s390x": "SCMP_ARCH_S390X",
}


def seccomp_profile(architecture: str) -> dict[str, Any]:
    """Return ``linux.seccomp`` of a runtime configuration for an image of ``architecture``.

    An architecture that is not known here gets the filter for the machine's own calls.
    """
    known = _ARCHITECTURES.get(architecture)
    flags_argument = 1 if architecture == "s390x" else 0
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": _EPERM,
        **({"architectures": [known]} if known else {}),
        "syscalls": [
            {"names": list(ALLOWED), "action": "SCMP_ACT_ALLOW"},
            _allow("clone", _argument(flags_argument, 0, "SCMP_CMP_MASKED_EQ", mask=_NEW_NAMESPACES)),
            {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": _ENOSYS},
            *(_allow("personality", _argument(0, value, "SCMP_CMP_EQ")) for value in _PERSONALITIES),
            *(
                _allow("socket", _argument(0, family, "SCMP_CMP_EQ"))
                for family in (_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK, _AF_PACKET)
            ),
        ],
    }


def _allow(name: str, argument: dict[str, Any]) -> dict[str, Any]:
    return {"names": [name], "action": "SCMP_ACT_ALLOW", "args": [argument]}


def _argument(index: int, value: int, operator: str, *, mask: int | None = None) -> dict[str, Any]:
    """Return a condition on one argument; for a masked one the runtime's ``value`` is the mask."""
    if mask is None:
        return {"index": index, "value": value, "op": operator}
    return {"index": index, "value": mask, "valueTwo": value, "op": operator}
