//! AF_XDP beside a node's UDP socket, as its configuration asks for it.
//!
//! Opened before any thread starts, so that what is missing is said at once, in a sentence; the IO thread's backend then
//! watches it. Needs a binary built with the feature `xdp`.

use std::net::SocketAddr;

use crate::backend::DatagramSource;

/// What a node takes datagrams from, beside its UDP socket.
#[derive(Default)]
pub(crate) struct UdpXdp {
    /// One a receive queue of the interface.
    pub(crate) sources: Vec<Box<dyn DatagramSource>>,
    /// For the log: how it was opened.
    pub(crate) facts: Option<String>,
}

impl UdpXdp {
    /// Opens AF_XDP for datagrams to `udp_listen` on the interface with this name; nothing where none is named.
    ///
    /// # Errors
    /// A sentence that says what to do: no `udp_listen`, a binary without AF_XDP, or why it does not work here.
    pub(crate) fn open(
        interface: Option<&str>,
        udp_listen: Option<SocketAddr>,
    ) -> anyhow::Result<Self> {
        let Some(interface) = interface else {
            return Ok(Self::default());
        };
        let Some(bound) = udp_listen else {
            anyhow::bail!(
                "udp_xdp = \"{interface}\" needs udp_listen, the address whose datagrams it takes: set both, or leave udp_xdp out"
            );
        };
        open(interface, bound)
    }
}

#[cfg(feature = "xdp")]
fn open(interface: &str, bound: SocketAddr) -> anyhow::Result<UdpXdp> {
    let xdp = crate::backend::xdp::Xdp::open(interface, bound, None)?;
    let sources = xdp.queues.into_iter().map(|queue| Box::new(queue) as _);
    Ok(UdpXdp {
        sources: sources.collect(),
        facts: Some(xdp.facts.to_string()),
    })
}

#[cfg(not(feature = "xdp"))]
fn open(interface: &str, _: SocketAddr) -> anyhow::Result<UdpXdp> {
    anyhow::bail!(
        "udp_xdp = \"{interface}\" needs a binary with AF_XDP: build it with `cargo build --release --features xdp`, or leave \
         udp_xdp out"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(interface: &str, udp_listen: Option<&str>) -> String {
        let udp_listen = udp_listen.map(|address| address.parse().unwrap());
        match UdpXdp::open(Some(interface), udp_listen) {
            Ok(_) => panic!("{interface} was opened"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn without_an_interface_there_is_nothing_to_open() {
        let none = UdpXdp::open(None, Some("127.0.0.1:7000".parse().unwrap())).unwrap();
        assert!(none.sources.is_empty() && none.facts.is_none());
    }

    #[test]
    fn an_interface_without_an_address_is_refused_in_a_sentence() {
        let said = refused("eth0", None);
        assert!(
            said.contains("needs udp_listen") && !said.contains('\n'),
            "{said}"
        );
    }

    #[cfg(not(feature = "xdp"))]
    #[test]
    fn a_binary_without_af_xdp_says_how_to_build_one_with_it() {
        let said = refused("lo", Some("127.0.0.1:7000"));
        assert!(
            said.contains("--features xdp") && !said.contains('\n'),
            "{said}"
        );
    }

    #[cfg(feature = "xdp")]
    #[test]
    fn an_interface_that_is_not_there_is_named() {
        let said = refused("nosuch0", Some("127.0.0.1:7000"));
        assert!(said.contains("nosuch0") && !said.contains('\n'), "{said}");
    }
}
