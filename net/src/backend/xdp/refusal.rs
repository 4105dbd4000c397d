//! Why AF_XDP cannot be used here, each in a sentence that says what to do.

use std::io;

use rustix::thread::{CapabilitySet, capabilities};

/// Why there is no AF_XDP.
#[derive(Debug, thiserror::Error)]
pub enum XdpError {
    /// The kernel must know which datagrams are ours.
    #[error("AF_XDP needs a port of its own: give the UDP address one that is not 0")]
    NoPort,
    /// No such interface.
    #[error(
        "there is no network interface {name} ({source}): `ip link` names those that there are"
    )]
    NoInterface {
        /// As it was given.
        name: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// It is not up.
    #[error("the network interface {0} is down: `ip link set {0} up`, or leave AF_XDP off")]
    Down(String),
    /// The process may not.
    #[error(
        "AF_XDP on {interface} needs {missing}: start the node as root, or give its binary the capabilities \
         (`setcap cap_net_raw,cap_bpf,cap_net_admin,cap_ipc_lock+ep`), or leave AF_XDP off"
    )]
    Capability {
        /// Where.
        interface: String,
        /// The capabilities that it lacks, and for what.
        missing: String,
    },
    /// It has the capabilities, and the kernel still says no.
    #[error(
        "the kernel refuses {step} for AF_XDP on {interface} though the capabilities are there ({source}): those of a \
         container's own user namespace do not count; run the node outside of it, or leave AF_XDP off"
    )]
    Forbidden {
        /// Where.
        interface: String,
        /// At what.
        step: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The memory for frames may not be locked.
    #[error(
        "AF_XDP on {interface} needs 16 MiB of locked memory a queue ({source}): raise the limit (`ulimit -l`), or give \
         the binary CAP_IPC_LOCK, or leave AF_XDP off"
    )]
    Memory {
        /// Where.
        interface: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// Somebody else is there.
    #[error(
        "{interface} has an XDP program or an AF_XDP socket of somebody else ({source}): `ip link show {interface}` names \
         the program; end it, or leave AF_XDP off"
    )]
    Busy {
        /// Where.
        interface: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// Anything else.
    #[error("AF_XDP does not work on {interface}: {step} failed ({source}); leave AF_XDP off")]
    Failed {
        /// Where.
        interface: String,
        /// At what.
        step: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

impl XdpError {
    pub(super) fn no_interface(name: &str, source: io::Error) -> Self {
        Self::NoInterface {
            name: name.to_owned(),
            source,
        }
    }

    /// What an error of the kernel at `step` means.
    pub(super) fn of(interface: String, step: &'static str, source: io::Error) -> Self {
        match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => Self::Forbidden {
                interface,
                step,
                source,
            },
            Some(libc::EBUSY | libc::EEXIST) => Self::Busy { interface, source },
            Some(libc::ENOBUFS | libc::ENOMEM) if step == BINDING => {
                Self::Memory { interface, source }
            }
            _ => Self::Failed {
                interface,
                step,
                source,
            },
        }
    }

    /// What the kernel said, without advice.
    pub(super) fn cause(&self) -> String {
        match self {
            Self::Forbidden { source, .. }
            | Self::Memory { source, .. }
            | Self::Busy { source, .. }
            | Self::Failed { source, .. } => source.to_string(),
            other => other.to_string(),
        }
    }
}

/// Looks whether this thread has what opening AF_XDP takes.
pub(super) fn check_capabilities(interface: &str) -> Result<(), XdpError> {
    let held = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
    let may_load = held.intersects(CapabilitySet::BPF | CapabilitySet::SYS_ADMIN);
    let needed = [
        (
            held.contains(CapabilitySet::NET_RAW),
            "CAP_NET_RAW (for the socket)",
        ),
        (may_load, "CAP_BPF (to load its program)"),
        (
            held.contains(CapabilitySet::NET_ADMIN),
            "CAP_NET_ADMIN (to attach it)",
        ),
    ];
    let missing: Vec<&str> = needed
        .iter()
        .filter(|(is_held, _)| !is_held)
        .map(|(_, name)| *name)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(XdpError::Capability {
        interface: interface.to_owned(),
        missing: missing.join(", "),
    })
}

/// The steps, as sentences name them.
pub(super) const LOADING: &str = "loading the program";
pub(super) const ATTACHING: &str = "attaching the program";
pub(super) const BINDING: &str = "binding the socket";
