use super::super::{Ack, AckCode, GoodbyeCode};
use super::super::{Notice, encode_acks_within, encode_goodbye, encode_settled};
use super::*;

const HELLO: Hello = Hello {
    chain_id: ChainId(7),
    receipts: true,
    ordered: true,
    settled: false,
    keys: true,
};

fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = b"what was there before".to_vec();
    write(&mut out);
    out
}

#[test]
fn datagrams_have_these_bytes_and_read_back() {
    let hello = written(|out| encode_datagram_hello(out, &HELLO, 5, 6));
    assert_eq!(
        hex::encode(&hello),
        "012100000000000000070b00000000000000050000000000000006"
    );
    let read = DatagramRequest::Hello {
        hello: HELLO,
        nonce: 5,
        token: 6,
    };
    assert_eq!(DatagramRequest::decode(&hello), Ok(read));
    let submit = written(|out| encode_datagram_submit(out, 6, 9, b"abc").unwrap());
    assert_eq!(
        hex::encode(&submit),
        "012200000000000000060000000000000009616263"
    );
    let envelope = &b"abc"[..];
    let read = DatagramRequest::Submit {
        token: 6,
        tag: 9,
        envelope,
    };
    assert_eq!(DatagramRequest::decode(&submit), Ok(read));
    let token = written(|out| encode_datagram_token(out, 5, 6));
    let read = DatagramNotice::Token { nonce: 5, token: 6 };
    assert_eq!(DatagramNotice::decode(&token), Ok(read));
    let unknown = written(|out| encode_datagram_unknown(out, 6));
    let read = DatagramNotice::Unknown { token: 6 };
    assert_eq!(DatagramNotice::decode(&unknown), Ok(read));
    // D1: who has proven nothing gets less than it sent.
    let shortest_submit = written(|out| encode_datagram_submit(out, 6, 9, b"a").unwrap());
    assert!(token.len() < hello.len() && unknown.len() < shortest_submit.len());
}

#[test]
fn no_cut_no_surplus_and_no_other_version_kind_or_flag_is_read() {
    let hello = written(|out| encode_datagram_hello(out, &HELLO, 5, 6));
    let token = written(|out| encode_datagram_token(out, 5, 6));
    for cut in 0..hello.len() {
        assert!(DatagramRequest::decode(&hello[..cut]).is_err());
    }
    for cut in 0..token.len() {
        assert!(DatagramNotice::decode(&token[..cut]).is_err());
    }
    for (at, value) in [(0, 2), (1, 0x23), (1, 0xa1), (10, 16)] {
        let mut changed = hello.clone();
        changed[at] = value;
        assert!(DatagramRequest::decode(&changed).is_err(), "{at}: {value}");
    }
    for long in [hello, token] {
        let long = [&long[..], &[0]].concat();
        assert!(DatagramRequest::decode(&long).is_err() && DatagramNotice::decode(&long).is_err());
    }
    let zero = written(|out| encode_datagram_token(out, 5, 0));
    assert!(DatagramNotice::decode(&zero).is_err(), "0 is no token");
    let empty = [1, datagram_kind::NOTICES, 0, 0, 0, 0, 0, 0, 0, 0];
    assert!(DatagramNotice::decode(&empty).is_err(), "no frame");
}

#[test]
fn the_longest_envelope_fills_a_datagram_and_one_byte_more_is_refused() {
    let longest = vec![7; DATAGRAM_ENVELOPE_LEN_MAX];
    let submit = written(|out| encode_datagram_submit(out, 1, 2, &longest).unwrap());
    assert_eq!(submit.len(), DATAGRAM_LEN_MAX);
    assert!(DatagramRequest::decode(&submit).is_ok());
    let above = [&submit[..], &[7]].concat();
    assert!(matches!(
        DatagramRequest::decode(&above),
        Err(DecodeError::TooLarge { .. })
    ));
    let mut out = Vec::new();
    let above = vec![7; DATAGRAM_ENVELOPE_LEN_MAX + 1];
    assert!(encode_datagram_submit(&mut out, 1, 2, &above).is_err());
    assert!(encode_datagram_submit(&mut out, 1, 2, &[]).is_err() && out.is_empty());
}

#[test]
fn frames_are_packed_whole_and_in_order_and_a_longer_one_is_left_out_and_counted() {
    let acks: Vec<Ack> = (0..300)
        .map(|tag| Ack {
            tag,
            code: AckCode::Accepted,
            detail: 0,
        })
        .collect();
    let mut frames = Vec::new();
    encode_acks_within(&mut frames, &acks, DATAGRAM_NOTICE_LEN_MAX);
    // Some 5,000 bytes, of no kind that a datagram's bound was kept for.
    super::super::encode_acks(&mut frames, &acks);
    encode_settled(&mut frames, 12);
    encode_goodbye(&mut frames, GoodbyeCode::Stopping, "bye");
    let mut datagrams = Vec::new();
    let left_out = pack_notices(&frames, 77, &mut |bytes| datagrams.push(bytes.to_vec()));
    assert_eq!(left_out, 1);
    let (mut tags, mut others) = (Vec::new(), Vec::new());
    for bytes in &datagrams {
        assert!(bytes.len() <= DATAGRAM_LEN_MAX);
        let Ok(DatagramNotice::Notices { nonce: 77, frames }) = DatagramNotice::decode(bytes)
        else {
            panic!("no notices: {bytes:?}");
        };
        for content in DatagramNotice::frames(frames) {
            match Notice::decode(content).unwrap() {
                Notice::Acks(acks) => tags.extend(acks.iter().map(|ack| ack.tag)),
                Notice::Settled { count } => others.push(count),
                Notice::Goodbye { .. } => others.push(0),
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(tags, (0..300).collect::<Vec<_>>());
    assert_eq!((others, datagrams.len()), (vec![12, 0], 5));
    assert_eq!(pack_notices(&[], 1, &mut |_| panic!("nothing to send")), 0);
}
