//! What processors there are, and what they share: a physical core (SMT), a last-level cache, a NUMA node.
//!
//! Source: `/sys/devices/system/cpu` and `/sys/devices/system/node` (Linux, Documentation/admin-guide/cputopology.rst
//! and Documentation/ABI/stable/sysfs-devices-node). What a virtual machine shows there is what its host lets it show.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use crate::cpu_list;
use crate::tree::{Tree, Unread};

/// The online processors of a machine, ascending.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Topology {
    /// Ascending by number; at least one.
    pub cpus: Vec<Cpu>,
    /// Those that the kernel keeps other work off (`isolcpus=`).
    pub isolated: Vec<usize>,
    /// Those on which the kernel stops its tick while one thread runs (`nohz_full=`).
    pub nohz_full: Vec<usize>,
}

/// One processor as the scheduler counts them: a hardware thread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cpu {
    /// Its number.
    pub id: usize,
    /// The NUMA node; 0 where the kernel names none.
    pub node: usize,
    /// All hardware threads of its physical core, itself included.
    pub siblings: Vec<usize>,
    /// All that share its last-level cache, itself included.
    pub cache: Vec<usize>,
    /// Speed relative to the others: 1,024 for the fastest kind, less for small cores of a hybrid processor.
    pub capacity: i64,
}

impl Topology {
    /// Reads the machine's processors.
    ///
    /// # Errors
    /// The list of online processors cannot be read. What is missing of one processor counts as not shared.
    pub fn read(tree: &Tree) -> Result<Self, Unread> {
        let online = tree.read_cpus(&format!("{CPU}/online"))?;
        if online.is_empty() {
            return Err(Unread {
                path: format!("{CPU}/online"),
                why: "no processor is named".to_owned(),
                is_absent: false,
            });
        }
        let nodes: Vec<(usize, Vec<usize>)> = (tree.numbered("/sys/devices/system/node", "node"))
            .into_iter()
            .map(|(node, path)| {
                let cpus = tree.read_cpus(&format!("{path}/cpulist"));
                (node, cpus.unwrap_or_default())
            })
            .collect();
        let small = tree
            .read_cpus("/sys/devices/cpu_atom/cpus")
            .unwrap_or_default();
        let cpus = (online.iter())
            .map(|&id| Cpu {
                id,
                node: (nodes.iter())
                    .find(|(_, cpus)| cpus.contains(&id))
                    .map_or(0, |(node, _)| *node),
                siblings: siblings(tree, id),
                cache: last_level_cache(tree, id),
                capacity: tree
                    .read_number(&format!("{CPU}/cpu{id}/cpu_capacity"))
                    .unwrap_or(CAPACITY_FULL)
                    .min(if small.contains(&id) {
                        CAPACITY_SMALL
                    } else {
                        i64::MAX
                    }),
            })
            .collect();
        let listed = |name: &str| tree.read_cpus(&format!("{CPU}/{name}")).unwrap_or_default();
        Ok(Self {
            cpus,
            isolated: listed("isolated"),
            nohz_full: listed("nohz_full"),
        })
    }

    /// The processor with this number, if it is online.
    pub fn cpu(&self, id: usize) -> Option<&Cpu> {
        self.cpus.iter().find(|cpu| cpu.id == id)
    }

    /// Numbers of all online processors.
    pub fn ids(&self) -> Vec<usize> {
        self.cpus.iter().map(|cpu| cpu.id).collect()
    }

    /// How many physical cores there are.
    pub fn physical_cores(&self) -> usize {
        let cores: BTreeSet<_> = self.cpus.iter().map(|cpu| &cpu.siblings).collect();
        cores.len()
    }

    /// The NUMA nodes that have processors.
    pub fn nodes(&self) -> BTreeSet<usize> {
        self.cpus.iter().map(|cpu| cpu.node).collect()
    }
}

impl fmt::Display for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let caches: BTreeSet<_> = self.cpus.iter().map(|cpu| &cpu.cache).collect();
        let nodes = self.nodes().len();
        write!(
            f,
            "{} processors ({}), {} physical cores, {nodes} NUMA node{}, last-level cache shared by",
            self.cpus.len(),
            cpu_list::format(&self.ids()),
            self.physical_cores(),
            if nodes == 1 { "" } else { "s" },
        )?;
        let shown: Vec<String> = caches
            .iter()
            .take(4)
            .map(|cpus| cpu_list::format(cpus))
            .collect();
        write!(f, " {}", shown.join(" | "))?;
        if caches.len() > 4 {
            write!(f, " and {} more groups", caches.len() - 4)?;
        }
        Ok(())
    }
}

/// The processors that the calling process may run on, and those of them that are online.
///
/// # Errors
/// The process's status cannot be read.
pub fn allowed(tree: &Tree, topology: &Topology) -> Result<Vec<usize>, Unread> {
    let path = "/proc/self/status";
    let status = tree.read(path)?;
    let unread = |why: String| Unread {
        path: path.to_owned(),
        why,
        is_absent: false,
    };
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let list = list.ok_or_else(|| unread("no Cpus_allowed_list".to_owned()))?;
    let mut cpus = cpu_list::parse(list).map_err(unread)?;
    cpus.retain(|cpu| topology.cpu(*cpu).is_some());
    Ok(cpus)
}

/// The processors that the calling process may run on, and isolated ones, which a process is not on unless it is put there.
///
/// # Errors
/// The process's status cannot be read, or allows no online processor.
pub fn usable(tree: &Tree, topology: &Topology) -> Result<Vec<usize>, Unread> {
    let mut cpus = allowed(tree, topology)?;
    cpus.extend(
        topology
            .isolated
            .iter()
            .filter(|cpu| topology.cpu(**cpu).is_some()),
    );
    cpus.sort_unstable();
    cpus.dedup();
    if cpus.is_empty() {
        return Err(Unread {
            path: "/proc/self/status".to_owned(),
            why: "this process may run on no processor that is online".to_owned(),
            is_absent: false,
        });
    }
    Ok(cpus)
}

fn siblings(tree: &Tree, id: usize) -> Vec<usize> {
    ["core_cpus_list", "thread_siblings_list"]
        .iter()
        .find_map(|name| {
            tree.read_cpus(&format!("{CPU}/cpu{id}/topology/{name}"))
                .ok()
        })
        .filter(|cpus| cpus.contains(&id))
        .unwrap_or_else(|| vec![id])
}

fn last_level_cache(tree: &Tree, id: usize) -> Vec<usize> {
    tree.numbered(&format!("{CPU}/cpu{id}/cache"), "index")
        .into_iter()
        .filter_map(|(_, path)| {
            let level = tree.read_number(&format!("{path}/level")).ok()?;
            let shared = tree.read_cpus(&format!("{path}/shared_cpu_list")).ok()?;
            Some((level, shared))
        })
        .max_by_key(|(level, _)| *level)
        .map(|(_, shared)| shared)
        .filter(|cpus| cpus.contains(&id))
        .unwrap_or_else(|| vec![id])
}

const CPU: &str = "/sys/devices/system/cpu";
const CAPACITY_FULL: i64 = 1024;
/// For small cores where the kernel gives no figure: below full is all that matters.
const CAPACITY_SMALL: i64 = 512;
