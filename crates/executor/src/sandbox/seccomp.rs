//! Pure: the system calls a unit may not make.
//!
//! A deny list: interpreters and virtual machines need most of the rest. What is denied fails as "not permitted", which
//! programs handle, and does not kill.

use std::collections::BTreeMap;

use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

/// Denied outright: ways out of, into, or around a sandbox, and faces of the kernel with a long list of past faults.
const DENIED: [libc::c_long; 51] = [
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_adjtimex,
    libc::SYS_bpf,
    libc::SYS_chroot,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_fanotify_init,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kcmp,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_lookup_dcookie,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_move_pages,
    libc::SYS_name_to_handle_at,
    libc::SYS_nfsservctl,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_personality,
    libc::SYS_pidfd_getfd,
    libc::SYS_pivot_root,
    libc::SYS_process_madvise,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
];

/// Kinds of sockets that reach past the network namespace: the kernel's ciphers, the hypervisor.
const DENIED_SOCKETS: [libc::c_int; 2] = [libc::AF_ALG, libc::AF_VSOCK];

/// Why there is no filter.
#[derive(Debug, thiserror::Error)]
#[error("no system call filter for {arch}")]
pub struct SeccompError {
    /// The processor's architecture.
    pub arch: &'static str,
    /// What the compiler of filters said.
    #[source]
    pub source: seccompiler::BackendError,
}

/// The filters as bubblewrap reads them, to be loaded in this order.
pub(super) fn programs() -> Result<[Vec<u8>; 2], SeccompError> {
    let compiled = || -> Result<_, seccompiler::BackendError> {
        // Arguments of `clone3` are out of a filter's sight. "Not there" makes C libraries fall back to `clone`.
        let unseen = filter([(libc::SYS_clone3, vec![])].into(), libc::ENOSYS)?;
        Ok([encode(&filter(denied()?, libc::EPERM)?), encode(&unseen)])
    };
    compiled().map_err(|source| SeccompError { arch: std::env::consts::ARCH, source })
}

fn denied() -> Result<BTreeMap<i64, Vec<SeccompRule>>, seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = DENIED.into_iter().map(|call| (call, vec![])).collect();
    let spaces = [
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWNS,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWNET,
        libc::CLONE_NEWIPC,
        libc::CLONE_NEWUTS,
        libc::CLONE_NEWCGROUP,
    ];
    for space in spaces {
        let bit = u64::from(space.unsigned_abs());
        rules.entry(libc::SYS_clone).or_default().push(rule(0, SeccompCmpOp::MaskedEq(bit), bit)?);
    }
    for family in DENIED_SOCKETS {
        let rule = rule(0, SeccompCmpOp::Eq, u64::from(family.unsigned_abs()))?;
        rules.entry(libc::SYS_socket).or_default().push(rule);
    }
    Ok(rules)
}

fn rule(argument: u8, how: SeccompCmpOp, value: u64) -> Result<SeccompRule, seccompiler::BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(argument, SeccompCmpArgLen::Dword, how, value)?])
}

fn filter(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    error: libc::c_int,
) -> Result<BpfProgram, seccompiler::BackendError> {
    let deny = SeccompAction::Errno(error.unsigned_abs());
    SeccompFilter::new(rules, SeccompAction::Allow, deny, std::env::consts::ARCH.try_into()?)?.try_into()
}

/// An array of the kernel's `struct sock_filter`.
fn encode(program: &BpfProgram) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(program.len() * 8);
    for step in program {
        bytes.extend(step.code.to_ne_bytes());
        bytes.extend([step.jt, step.jf]);
        bytes.extend(step.k.to_ne_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filters_compile_and_are_whole_instructions() {
        for program in programs().unwrap() {
            assert!(!program.is_empty() && program.len().is_multiple_of(8));
            assert!(program.len() / 8 < 4096, "the kernel's limit");
        }
    }
}
