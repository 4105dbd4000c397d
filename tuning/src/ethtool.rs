//! What a network interface says of its rings, coalescing and offloads, as `ethtool` shows them.
//!
//! Read over generic netlink (Linux 5.6); reading needs no privilege. Source: Linux, linux/ethtool_netlink.h and
//! Documentation/networking/ethtool-netlink.rst.

use std::io;

use serde::Serialize;

use crate::netlink::{Family, as_u32, attributes, push_attribute, terminated};

/// What an interface says of itself; none of a kind where its driver does not have it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NicFacts {
    /// Ring sizes.
    pub rings: Option<Rings>,
    /// How interrupts are held back.
    pub coalescing: Option<Coalescing>,
    /// Offloads that are on, by the kernel's names, like `rx-gro`.
    pub features: Option<Vec<String>>,
}

/// Ring sizes, in packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Rings {
    /// For receiving.
    pub rx: u32,
    /// The most that the device can have.
    pub rx_most: u32,
}

/// How interrupts for received packets are held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Coalescing {
    /// Microseconds, where the device knows them.
    pub rx_usecs: Option<u32>,
    /// Packets, where the device knows them.
    pub rx_frames: Option<u32>,
    /// The device chooses by itself.
    pub is_rx_adaptive: bool,
}

/// Asks this machine's interface.
///
/// # Errors
/// There is no such netlink family, or no such interface, in a sentence.
pub fn probe(interface: &str) -> Result<NicFacts, String> {
    let family = Family::open("ethtool")
        .map_err(|error| format!("cannot be read: ethtool over netlink: {error}"))?;
    let ask = |what: &str, command: u8| match family.ask(command, &header(interface)) {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.raw_os_error() == Some(NOT_SUPPORTED) => Ok(None),
        Err(error) => Err(format!("cannot be read: {what} of {interface}: {error}")),
    };
    let wrong = |error: io::Error| format!("cannot be read: {error}");
    Ok(NicFacts {
        rings: ask("rings", RINGS_GET)?
            .map(|answer| rings(&answer))
            .transpose()
            .map_err(wrong)?
            .flatten(),
        coalescing: ask("coalescing", COALESCE_GET)?
            .map(|answer| coalescing(&answer))
            .transpose()
            .map_err(wrong)?,
        features: ask("offloads", FEATURES_GET)?
            .map(|answer| features(&answer))
            .transpose()
            .map_err(wrong)?,
    })
}

fn header(interface: &str) -> Vec<u8> {
    let mut name = Vec::new();
    push_attribute(&mut name, HEADER_DEVICE_NAME, &terminated(interface));
    let mut header = Vec::new();
    push_attribute(&mut header, HEADER | NESTED, &name);
    header
}

fn rings(answer: &[u8]) -> io::Result<Option<Rings>> {
    let (mut rx, mut rx_most) = (None, None);
    for (kind, value) in attributes(answer)? {
        match kind {
            RINGS_RX_MAX => rx_most = as_u32(value),
            RINGS_RX => rx = as_u32(value),
            _ => {}
        }
    }
    Ok(rx.zip(rx_most).map(|(rx, rx_most)| Rings { rx, rx_most }))
}

fn coalescing(answer: &[u8]) -> io::Result<Coalescing> {
    let mut coalescing = Coalescing {
        rx_usecs: None,
        rx_frames: None,
        is_rx_adaptive: false,
    };
    for (kind, value) in attributes(answer)? {
        match kind {
            COALESCE_RX_USECS => coalescing.rx_usecs = as_u32(value),
            COALESCE_RX_MAX_FRAMES => coalescing.rx_frames = as_u32(value),
            COALESCE_USE_ADAPTIVE_RX => coalescing.is_rx_adaptive = value == [1],
            _ => {}
        }
    }
    Ok(coalescing)
}

/// Names of the features that are on: the set bits of the active set, which names every bit that it lists.
fn features(answer: &[u8]) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for (_, active) in attributes(answer)?.filter(|(kind, _)| *kind == FEATURES_ACTIVE) {
        for (_, bits) in attributes(active)?.filter(|(kind, _)| *kind == BITSET_BITS) {
            for (_, bit) in attributes(bits)? {
                let name = attributes(bit)?.find(|(kind, _)| *kind == BIT_NAME);
                let name = name.map(|(_, name)| String::from_utf8_lossy(name));
                names.extend(name.map(|name| name.trim_end_matches('\0').to_owned()));
            }
        }
    }
    Ok(names)
}

const NOT_SUPPORTED: i32 = 95;
const NESTED: u16 = 1 << 15;
const HEADER: u16 = 1;
const HEADER_DEVICE_NAME: u16 = 2;
const FEATURES_GET: u8 = 11;
const RINGS_GET: u8 = 15;
const COALESCE_GET: u8 = 19;
const RINGS_RX_MAX: u16 = 2;
const RINGS_RX: u16 = 6;
const COALESCE_RX_USECS: u16 = 2;
const COALESCE_RX_MAX_FRAMES: u16 = 3;
const COALESCE_USE_ADAPTIVE_RX: u16 = 11;
const FEATURES_ACTIVE: u16 = 4;
const BITSET_BITS: u16 = 3;
const BIT_NAME: u16 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machines_loopback_has_features_and_no_rings() {
        let facts = probe("lo").unwrap();
        let features = facts.features.unwrap();
        assert!(features.iter().any(|name| name == "rx-gro"), "{features:?}");
        assert_eq!(facts.rings, None);
    }

    #[test]
    fn an_interface_that_is_not_there_is_named() {
        let why = probe("nosuch0").unwrap_err();
        assert!(why.contains("nosuch0"), "{why}");
    }
}
