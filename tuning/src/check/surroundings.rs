//! What the machine runs in: a virtual machine, a container.

use std::fmt;

use serde::Serialize;

use crate::tree::Tree;

/// What the machine runs in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Surroundings {
    /// The hypervisor, where the processor says that there is one.
    pub hypervisor: Option<String>,
    /// The container engine, where this process is in a container.
    pub container: Option<String>,
    /// The kernel's version.
    pub kernel: String,
}

impl Surroundings {
    /// Reads them; what says nothing counts as not there.
    pub fn read(tree: &Tree) -> Self {
        Self {
            hypervisor: hypervisor(tree),
            container: container(tree),
            kernel: (tree.read("/proc/sys/kernel/osrelease"))
                .unwrap_or_else(|_| "of unknown version".to_owned()),
        }
    }
}

impl fmt::Display for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Linux {}", self.kernel)?;
        match &self.hypervisor {
            Some(name) => write!(f, ", a virtual machine ({name})")?,
            None => write!(f, ", no sign of a hypervisor")?,
        }
        match &self.container {
            Some(name) => write!(f, ", in a container ({name})"),
            None => Ok(()),
        }
    }
}

fn hypervisor(tree: &Tree) -> Option<String> {
    let said = ["/sys/hypervisor/type", "/sys/class/dmi/id/sys_vendor"]
        .iter()
        .find_map(|path| tree.read(path).ok())
        .filter(|name| !name.is_empty());
    let cpuinfo = tree.read("/proc/cpuinfo").unwrap_or_default();
    let has_flag = (cpuinfo.lines())
        .filter(|line| line.starts_with("flags"))
        .any(|line| line.split_whitespace().any(|flag| flag == "hypervisor"));
    let clock = tree.read("/sys/devices/system/clocksource/clocksource0/available_clocksource");
    let is_kvm = clock.is_ok_and(|clocks| clocks.contains("kvm-clock"));
    match (has_flag || tree.has("/sys/hypervisor/type") || is_kvm, said) {
        (false, _) => None,
        (true, _) if is_kvm => Some("KVM".to_owned()),
        (true, said) => Some(said.unwrap_or_else(|| "not named".to_owned())),
    }
}

/// A container has namespaces of its own. Its engine's marks alone say little: an image's files also boot machines.
fn container(tree: &Tree) -> Option<String> {
    let mark = mark(tree);
    match own_namespaces(tree).as_deref() {
        Some([]) => None,
        Some(names) if names.contains(&"pid") => {
            Some(mark.unwrap_or_else(|| "not named".to_owned()))
        }
        Some(_) | None => mark,
    }
}

/// The namespaces that are not the machine's first ones; none when that cannot be told.
fn own_namespaces(tree: &Tree) -> Option<Vec<&'static str>> {
    let mut own = Vec::new();
    for (name, first) in NAMESPACES_FIRST {
        let link = std::fs::read_link(tree.locate(&format!("/proc/self/ns/{name}"))).ok()?;
        if link.to_str() != Some(&format!("{name}:[{first}]")) {
            own.push(name);
        }
    }
    Some(own)
}

fn mark(tree: &Tree) -> Option<String> {
    let marks = [
        ("/.dockerenv", "Docker"),
        ("/run/.containerenv", "Podman"),
        ("/var/run/secrets/kubernetes.io", "Kubernetes"),
    ];
    if let Some((_, name)) = marks.iter().find(|(path, _)| tree.has(path)) {
        return Some((*name).to_owned());
    }
    let first = tree.read("/proc/1/cgroup").unwrap_or_default();
    let names = ["docker", "kubepods", "lxc", "containerd", "libpod"];
    (names.iter())
        .find(|name| first.contains(**name))
        .map(|name| (*name).to_owned())
}

/// Numbers of the machine's first namespaces. Source: Linux, include/linux/proc_ns.h.
const NAMESPACES_FIRST: [(&str, u32); 4] = [
    ("pid", 0xEFFF_FFFC),
    ("uts", 0xEFFF_FFFE),
    ("ipc", 0xEFFF_FFFF),
    ("cgroup", 0xEFFF_FFFB),
];
