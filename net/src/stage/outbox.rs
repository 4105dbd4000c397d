//! Answers to clients, gathered during one poll of the core stage and sent as one buffer a connection.

use std::collections::BTreeMap;

use fairlane_client::protocol::{self, Ack, AckCode, FollowCode, OrderedItem};
use fairlane_engine::admit::refusal::Refusal;
use fairlane_engine::dag::SignedHeader;
use fairlane_engine::effect;
use fairlane_engine::input::ClientTag;
use fairlane_engine::types::{BatchSeq, Sha256Hash};

use super::messages::{FromCore, NoticeFlags};

/// Clients that are connected, and what is about to be sent to each.
#[derive(Debug, Default)]
pub struct Outbox {
    clients: BTreeMap<u64, Client>,
    /// Connections with something to send.
    touched: Vec<u64>,
}

#[derive(Debug)]
struct Client {
    notices: NoticeFlags,
    acks: Vec<Ack>,
    frames: Vec<u8>,
    touched: bool,
}

impl Outbox {
    /// A client is there.
    pub fn add_client(&mut self, connection: u64, notices: NoticeFlags) {
        let client = Client {
            notices,
            acks: Vec::new(),
            frames: Vec::new(),
            touched: false,
        };
        self.clients.insert(connection, client);
    }

    /// A client is gone.
    pub fn remove_client(&mut self, connection: u64) {
        self.clients.remove(&connection);
    }

    /// How many clients there are.
    pub fn clients_len(&self) -> usize {
        self.clients.len()
    }

    /// Answers a submission.
    pub fn ack(&mut self, client: ClientTag, outcome: Result<(), Refusal>) {
        let (code, detail) = match outcome {
            Ok(()) => (AckCode::Accepted, 0),
            Err(refusal) => (ack_code(refusal), refusal.detail()),
        };
        if let Some(out) = self.touch(client.connection) {
            out.acks.push(Ack {
                tag: client.tag,
                code,
                detail,
            });
        }
    }

    /// Gives receipts; `items` in any order.
    pub fn receipts(&mut self, header: &SignedHeader, items: &[effect::ReceiptItem]) {
        let mut header_bytes = Vec::with_capacity(SignedHeader::LEN);
        header.encode(&mut header_bytes);
        let header: &[u8; protocol::SIGNED_HEADER_LEN] = header_bytes
            .as_slice()
            .try_into()
            .expect("both ends fix the header's length");
        for (connection, items) in by_connection(items, |item| item.client.connection) {
            let Some(out) = self.touch(connection).filter(|out| out.notices.receipts) else {
                continue;
            };
            let wire: Vec<(u64, u32, &[Sha256Hash])> = items
                .iter()
                .map(|item| (item.client.tag, item.index, item.path.as_slice()))
                .collect();
            let len_max = out.frame_len_max();
            protocol::encode_receipts_within(&mut out.frames, header, &wire, len_max);
        }
    }

    /// Tells final places.
    pub fn ordered(&mut self, seq: BatchSeq, items: &[(ClientTag, u32)]) {
        for (connection, items) in by_connection(items, |(client, _)| client.connection) {
            let Some(out) = self.touch(connection).filter(|out| out.notices.ordered) else {
                continue;
            };
            let wire: Vec<OrderedItem> = items
                .iter()
                .map(|(client, index)| OrderedItem {
                    tag: client.tag,
                    index: *index,
                })
                .collect();
            let len_max = out.frame_len_max();
            protocol::encode_ordered_within(&mut out.frames, seq, &wire, len_max);
        }
    }

    /// Answers a wish to follow.
    pub fn following(&mut self, connection: u64, name: u64, code: FollowCode) {
        if let Some(out) = self.touch(connection) {
            protocol::encode_following(&mut out.frames, name, code);
        }
    }

    /// Sends whole frames.
    pub fn frames(&mut self, connection: u64, frames: &mut Vec<u8>) {
        if let Some(out) = self.touch(connection) {
            out.frames.append(frames);
        }
    }

    /// Hands over what was gathered, acks first.
    pub fn drain(&mut self, mut send: impl FnMut(FromCore)) {
        for connection in self.touched.drain(..) {
            let Some(client) = self.clients.get_mut(&connection) else {
                continue;
            };
            client.touched = false;
            let mut bytes = Vec::new();
            if !client.acks.is_empty() {
                let len_max = client.frame_len_max();
                protocol::encode_acks_within(&mut bytes, &client.acks, len_max);
                client.acks.clear();
            }
            bytes.append(&mut client.frames);
            if !bytes.is_empty() {
                send(FromCore::ToClient { connection, bytes });
            }
        }
    }

    fn touch(&mut self, connection: u64) -> Option<&mut Client> {
        let client = self.clients.get_mut(&connection)?;
        if !client.touched {
            client.touched = true;
            self.touched.push(connection);
        }
        Some(client)
    }
}

impl Client {
    /// Bound of the length field of frames to it.
    const fn frame_len_max(&self) -> u32 {
        if self.notices.is_datagram {
            protocol::DATAGRAM_NOTICE_LEN_MAX
        } else {
            protocol::NOTICE_LEN_MAX
        }
    }
}

/// Groups items by connection, keeping their order within each.
fn by_connection<T>(items: &[T], connection: impl Fn(&T) -> u64) -> BTreeMap<u64, Vec<&T>> {
    let mut groups: BTreeMap<u64, Vec<&T>> = BTreeMap::new();
    for item in items {
        groups.entry(connection(item)).or_default().push(item);
    }
    groups
}

fn ack_code(refusal: Refusal) -> AckCode {
    match refusal {
        Refusal::Busy { .. } => AckCode::Busy,
        Refusal::Expired => AckCode::Expired,
        Refusal::WrongKey => AckCode::WrongKey,
        Refusal::UnknownRollup => AckCode::UnknownRollup,
        Refusal::TooLarge => AckCode::TooLarge,
        Refusal::BadProof => AckCode::BadProof,
        Refusal::Malformed => AckCode::Malformed,
        Refusal::Duplicate { .. } => AckCode::Duplicate,
        Refusal::PolicyMismatch => AckCode::PolicyMismatch,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engines_codes_are_the_wires_codes() {
        let refusals = [
            Refusal::Busy { retry_after_us: 5 },
            Refusal::Expired,
            Refusal::WrongKey,
            Refusal::UnknownRollup,
            Refusal::TooLarge,
            Refusal::BadProof,
            Refusal::Malformed,
            Refusal::Duplicate { seq: BatchSeq(3) },
            Refusal::PolicyMismatch,
        ];
        for refusal in refusals {
            assert_eq!(ack_code(refusal) as u8, refusal.code(), "{refusal}");
        }
    }

    #[test]
    fn a_client_gets_one_buffer_a_poll_and_nothing_when_it_is_gone() {
        let mut outbox = Outbox::default();
        outbox.add_client(
            1,
            NoticeFlags {
                ordered: true,
                ..NoticeFlags::default()
            },
        );
        outbox.add_client(2, NoticeFlags::default());
        let tag = |connection, tag| ClientTag { connection, tag };
        outbox.ack(tag(1, 10), Ok(()));
        outbox.ack(tag(1, 11), Err(Refusal::BadProof));
        outbox.ack(tag(2, 10), Ok(()));
        outbox.ordered(BatchSeq(0), &[(tag(1, 10), 0), (tag(2, 10), 0)]);
        outbox.remove_client(2);
        let mut sent = Vec::new();
        outbox.drain(|message| sent.push(message));
        assert_eq!(sent.len(), 1);
        assert!(matches!(&sent[0], FromCore::ToClient { connection: 1, .. }));
        outbox.drain(|_| panic!("nothing is sent twice"));
    }
}
