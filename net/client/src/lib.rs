//! The Fairlane client library: seal, submit to every authority, follow what becomes of it.
//!
//! What this crate must never know: what a node does inside. It knows the committee file, the wire protocol between
//! clients and nodes (defined here, in [`protocol`]; nodes use this very definition), and how to check what a node
//! says. It starts no thread and reads no configuration but the committee file that it is given.
//!
//! - [`committee_file`]: who the authorities are and which key to seal to;
//! - [`sealing`]: makes envelopes;
//! - [`client`]: submits them to all authorities, over TCP or UDP, and hears what becomes of them; [`connection`] is one of its
//!   sockets;
//! - [`key_book`]: when a new key is believed;
//! - [`receipt`]: the signed proof that an authority listed an envelope;
//! - [`inclusion`]: the proof that it stands at a place of the certified order;
//! - [`protocol`]: the bytes on the wire.
//!
//! A submission, and its first receipt:
//!
//! ```no_run
//! use std::path::Path;
//! use std::time::{Duration, SystemTime};
//!
//! use fairlane_client::committee_file::Directory;
//! use fairlane_client::sealing::{PadTo, Sealer, entry_of};
//! use fairlane_client::{Client, ClientOptions, Event, Observer};
//! use fairlane_engine::seal::EnvelopeKind;
//! use fairlane_engine::types::{AuthorityIndex, Entry, RollupId, TimestampUs};
//!
//! /// Waits for the first receipt of one envelope.
//! struct FirstReceipt {
//!     wanted: Option<Entry>,
//! }
//!
//! impl Observer for FirstReceipt {
//!     fn receipt_wanted(&self, _tag: u64) -> Option<Entry> {
//!         self.wanted
//!     }
//!
//!     fn on_event(&mut self, authority: AuthorityIndex, event: Event) {
//!         match event {
//!             Event::Ack(ack) => println!("{authority}: {}", ack.code.name()),
//!             Event::Receipt { receipt, .. } => {
//!                 println!("{authority} listed it in round {}", receipt.signed_header.header.round.0);
//!                 self.wanted = None;
//!             }
//!             _ => {}
//!         }
//!     }
//! }
//!
//! let directory = Directory::load(Path::new("committee.json"))?;
//! let addresses = directory.client_addresses();
//! let sealer = Sealer {
//!     key: directory.sealing_key.clone(),
//!     rollup: RollupId(1),
//!     kind: EnvelopeKind::Sealed,
//!     sender_tag: [0; 16],
//!     padding: PadTo::SizeClass,
//! };
//! let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
//! let valid_until = TimestampUs(now.as_micros() as u64).plus_us(30_000_000);
//! let envelope = sealer.make(b"buy 1 at 100", valid_until)?;
//!
//! let key = directory.sealing_key;
//! let mut client = Client::new(directory.committee, key, &addresses, ClientOptions::default());
//! let mut observer = FirstReceipt { wanted: Some(entry_of(&envelope)) };
//! client.connect_all(Duration::from_secs(5), &mut observer)?;
//! client.submit(0, envelope.bytes())?;
//! while observer.wanted.is_some() {
//!     client.poll(Duration::from_millis(100), &mut observer)?;
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A rollup, followed with proofs that need no trust in any node:
//!
//! ```no_run
//! use std::path::Path;
//! use std::time::Duration;
//!
//! use fairlane_client::committee_file::Directory;
//! use fairlane_client::protocol::FollowTarget;
//! use fairlane_client::{Client, ClientOptions, Event, Observer};
//! use fairlane_engine::types::{AuthorityIndex, Entry, RollupId};
//!
//! struct Printer;
//!
//! impl Observer for Printer {
//!     fn receipt_wanted(&self, _tag: u64) -> Option<Entry> {
//!         None
//!     }
//!
//!     fn on_event(&mut self, authority: AuthorityIndex, event: Event) {
//!         match event {
//!             // Path, chain of headers and certificate were checked against the committee file.
//!             Event::Certified { inclusion, .. } => {
//!                 let seq = inclusion.header.seq.0;
//!                 println!("batch {seq}, {}: {:?}", inclusion.index, inclusion.payload);
//!             }
//!             Event::InclusionRefused { reason } => println!("{authority} lies: {reason}"),
//!             _ => {}
//!         }
//!     }
//! }
//!
//! let directory = Directory::load(Path::new("committee.json"))?;
//! let addresses = directory.client_addresses();
//! let key = directory.sealing_key;
//! let mut client = Client::new(directory.committee, key, &addresses, ClientOptions::default());
//! client.follow(1, FollowTarget::Rollup(RollupId(1)));
//! loop {
//!     client.poll(Duration::from_secs(1), &mut Printer)?;
//! }
//! # #[allow(unreachable_code, reason = "the example never ends")]
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

pub mod client;
pub mod committee_file;
pub mod connection;
mod datagram_connection;
pub mod inclusion;
pub mod key_book;
mod link;
pub mod protocol;
pub mod receipt;
mod resends;
pub mod sealing;
mod train;
mod transport;

pub use client::{Client, ClientOptions, Event, Observer, Observers, poll_all};
pub use connection::CloseReason;
pub use inclusion::{CertifiedChain, Inclusion, InclusionError};
pub use key_book::KeyRefused;
pub use link::LinkCounts;
pub use receipt::{Receipt, ReceiptError};
pub use resends::ResendCounts;
pub use transport::Transport;
