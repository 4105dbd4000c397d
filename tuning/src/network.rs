//! The network interface that the node's traffic takes, and what `/sys` says of it.

use std::fmt;

use serde::Serialize;

use crate::tree::Tree;

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Interface {
    /// Its name, as `ip link` shows it.
    pub name: String,
    /// The NUMA node that its device is attached to, where the machine says so.
    pub node: Option<usize>,
    /// Receive queues.
    pub rx_queues: usize,
    /// Transmit queues.
    pub tx_queues: usize,
    /// The driver of its device, where it has one.
    pub driver: Option<String>,
}

impl Interface {
    /// The one with this name, else the one of the default route; none when there is no such route.
    ///
    /// # Errors
    /// A name that no interface has, in a sentence.
    pub fn choose(tree: &Tree, name: Option<&str>) -> Result<Option<Self>, String> {
        let Some(name) = name else {
            return Ok(default_route(tree).map(|name| Self::read(tree, &name)));
        };
        let names = tree.names(NET);
        if names.iter().any(|known| known == name) {
            return Ok(Some(Self::read(tree, name)));
        }
        Err(match names.as_slice() {
            [] => format!("--interface {name}: {NET} names no interface"),
            names => format!("--interface {name}: there is {} only", names.join(", ")),
        })
    }

    fn read(tree: &Tree, name: &str) -> Self {
        let queues = |kind: &str| tree.numbered(&format!("{NET}/{name}/queues"), kind).len();
        // -1 where the machine has one node only; a virtio device's own folder has none, the PCI device above it has.
        let node = ["device/numa_node", "device/../numa_node"]
            .iter()
            .find_map(|path| tree.read_number(&format!("{NET}/{name}/{path}")).ok())
            .and_then(|node| usize::try_from(node).ok());
        let driver = std::fs::read_link(tree.locate(&format!("{NET}/{name}/device/driver"))).ok();
        Self {
            name: name.to_owned(),
            node,
            rx_queues: queues("rx-"),
            tx_queues: queues("tx-"),
            driver: driver.and_then(|path| Some(path.file_name()?.to_str()?.to_owned())),
        }
    }

    /// A file of this interface.
    pub fn path(&self, name: &str) -> String {
        format!("{NET}/{}/{name}", self.name)
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)?;
        if let Some(driver) = &self.driver {
            write!(f, " ({driver})")?;
        }
        match self.node {
            Some(node) => write!(f, ", on NUMA node {node}"),
            None => write!(f, ", its NUMA node is not said"),
        }
    }
}

/// The interface of the default route with the least metric, of IPv4, else of IPv6.
fn default_route(tree: &Tree) -> Option<String> {
    let v4 = tree.read("/proc/net/route").unwrap_or_default();
    let v4 = v4.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_default = fields.get(1) == Some(&"00000000") && fields.get(7) == Some(&"00000000");
        let metric: u32 = fields.get(6)?.parse().ok()?;
        is_default.then(|| (metric, fields[0].to_owned()))
    });
    let v6 = tree.read("/proc/net/ipv6_route").unwrap_or_default();
    let v6 = v6.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_default =
            fields.first()?.bytes().all(|byte| byte == b'0') && fields.get(1) == Some(&"00");
        let metric = u32::from_str_radix(fields.get(5)?, 16).ok()?;
        let name = fields.get(9).filter(|name| **name != "lo")?;
        is_default.then(|| (metric, (*name).to_owned()))
    });
    v4.min().or_else(|| v6.min()).map(|(_, name)| name)
}

const NET: &str = "/sys/class/net";
