//! Golden bytes of every notice, and what decoders must refuse.

use super::super::{LENGTH_LEN, next_frame};
use super::*;

const WELCOME: Welcome = Welcome {
    authority: AuthorityIndex(3),
    chain_id: ChainId(7),
    epoch: Epoch(2),
    key_id: KeyId([0xaa; 16]),
};

/// The shape of a statement of one authority; no key has these points.
const STATEMENT: [u8; 93] = {
    let mut bytes = [0x44; 93];
    bytes[0] = 1;
    bytes
        .split_at_mut(21)
        .1
        .split_at_mut(8)
        .0
        .copy_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1]);
    bytes
};

const KEY: KeyNotice<'_> = KeyNotice {
    signature: &[0x33; 64],
    statement: &STATEMENT,
};

const HEADER: [u8; SIGNED_HEADER_LEN] = [0x55; SIGNED_HEADER_LEN];

/// One frame of each kind.
fn samples() -> Vec<Vec<u8>> {
    let path = [Sha256Hash([1; 32]), Sha256Hash([2; 32])];
    let write = |encode: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        encode(&mut out);
        out
    };
    vec![
        write(&|out| encode_welcome(out, &WELCOME)),
        write(&|out| encode_acks(out, &acks(2))),
        write(&|out| encode_receipts(out, &HEADER, &[(5, 1, &path), (6, 0, &[])])),
        write(&|out| encode_ordered(out, BatchSeq(4), &[OrderedItem { tag: 5, index: 6 }])),
        write(&|out| encode_settled(out, 9)),
        write(&|out| encode_goodbye(out, GoodbyeCode::Stopping, "bye")),
        write(&|out| encode_key(out, &KEY)),
    ]
}

fn acks(count: u64) -> Vec<Ack> {
    (0..count)
        .map(|tag| Ack {
            tag,
            code: AckCode::ALL[(tag % 10) as usize],
            detail: tag * 3,
        })
        .collect()
}

#[test]
fn notices_have_these_bytes() {
    let bytes: Vec<String> = samples().iter().map(hex::encode).collect();
    let key = "aa".repeat(16);
    assert_eq!(
        bytes[0],
        format!("0000001f01810300000000000000070000 0002{key}").replace(' ', "")
    );
    let first = "00000000000000000000000000000000 00";
    let second = "0000000000000001010000000000000003";
    assert_eq!(
        bytes[1],
        format!("000000280182 00000002{first}{second}").replace(' ', "")
    );
    let (header, one, two) = ("55".repeat(211), "01".repeat(32), "02".repeat(32));
    let items = format!("00000000000000050000000102{one}{two}00000000000000060000000000");
    assert_eq!(bytes[2], format!("000001330183{header}00000002{items}"));
    assert_eq!(
        bytes[3],
        "0000001a0184 0000000000000004 00000001 000000000000000500000006".replace(' ', "")
    );
    assert_eq!(bytes[4], "0000000a01850000000000000009");
    assert_eq!(bytes[5], "00000006018600627965");
    let (signature, statement) = ("33".repeat(64), hex::encode(STATEMENT));
    assert_eq!(bytes[6], format!("0000009f0187{signature}{statement}"));
}

#[test]
fn notices_read_back() {
    let frames = samples();
    let read = |at: usize| Notice::decode(&frames[at][LENGTH_LEN..]).unwrap();
    assert_eq!(read(0), Notice::Welcome(WELCOME));
    let Notice::Acks(list) = read(1) else {
        panic!()
    };
    assert_eq!(list.iter().collect::<Vec<_>>(), acks(2));
    let Notice::Receipts(receipts) = read(2) else {
        panic!()
    };
    assert_eq!(receipts.signed_header, HEADER);
    let items: Vec<_> = receipts.iter().collect();
    assert_eq!((items.len(), items[0].tag, items[0].entry_index), (2, 5, 1));
    assert_eq!(
        items[0].path.hashes(),
        [Sha256Hash([1; 32]), Sha256Hash([2; 32])]
    );
    assert!(items[1].path.hashes().is_empty());
    let Notice::Ordered(ordered) = read(3) else {
        panic!()
    };
    assert_eq!(ordered.seq, BatchSeq(4));
    assert_eq!(
        ordered.iter().collect::<Vec<_>>(),
        [OrderedItem { tag: 5, index: 6 }]
    );
    assert_eq!(read(4), Notice::Settled { count: 9 });
    let (code, text) = (GoodbyeCode::Stopping, "bye");
    assert_eq!(read(5), Notice::Goodbye { code, text });
    assert_eq!(read(6), Notice::Key(KEY));
}

#[test]
fn every_truncation_and_every_trailing_byte_is_refused() {
    for frame in samples() {
        let content = &frame[LENGTH_LEN..];
        // A goodbye's text runs to the frame's end; only its head can be missing.
        let is_goodbye = content[1] == kind::GOODBYE;
        let from = if is_goodbye { 3 } else { content.len() };
        for cut in 0..from {
            assert!(
                Notice::decode(&content[..cut]).is_err(),
                "kind {:#x} cut at {cut}",
                content[1]
            );
        }
        let long = [content, &[0]].concat();
        assert!(
            is_goodbye || Notice::decode(&long).is_err(),
            "kind {:#x}",
            content[1]
        );
    }
}

#[test]
fn a_count_that_the_bytes_do_not_hold_is_refused() {
    for (at, kind) in [(1, "acks"), (3, "ordered")] {
        let frame = samples().swap_remove(at);
        let count_at = if at == 1 { 6 } else { 14 };
        for count in [0u32, 5, NOTICE_LEN_MAX, u32::MAX] {
            let mut content = frame.clone();
            content[count_at..count_at + 4].copy_from_slice(&count.to_be_bytes());
            assert!(
                Notice::decode(&content[LENGTH_LEN..]).is_err(),
                "{count} {kind}"
            );
        }
    }
    let frame = samples().swap_remove(2);
    for count in [0u32, 1, 3, u32::MAX] {
        let mut content = frame.clone();
        content[6 + SIGNED_HEADER_LEN..][..4].copy_from_slice(&count.to_be_bytes());
        assert!(
            Notice::decode(&content[LENGTH_LEN..]).is_err(),
            "{count} receipts"
        );
    }
}

#[test]
fn unknown_codes_kinds_deep_paths_and_broken_text_are_refused() {
    let changed = |sample: usize, at: usize, value: u8| {
        let mut frame = samples().swap_remove(sample);
        frame[LENGTH_LEN + at] = value;
        Notice::decode(&frame[LENGTH_LEN..])
            .map(|_| ())
            .unwrap_err()
    };
    assert_eq!(changed(4, 0, 9), DecodeError::Version(9));
    assert_eq!(
        changed(4, 1, 0x01),
        DecodeError::NotCanonical("notice kind")
    );
    assert_eq!(changed(1, 14, 10), DecodeError::NotCanonical("ack code"));
    assert_eq!(changed(5, 2, 99), DecodeError::NotCanonical("goodbye code"));
    assert_eq!(
        changed(5, 3, 0xff),
        DecodeError::NotCanonical("goodbye text")
    );
    let path_len_at = 2 + SIGNED_HEADER_LEN + 4 + 12;
    assert!(matches!(
        changed(2, path_len_at, 33),
        DecodeError::TooLarge { .. }
    ));
}

#[test]
fn a_long_list_becomes_several_frames_within_the_bound() {
    let all = acks(40_000);
    let mut bytes = Vec::new();
    encode_acks(&mut bytes, &all);
    let (mut rest, mut seen, mut frames) = (&bytes[..], Vec::new(), 0);
    while let Some((content, used)) = next_frame(rest, NOTICE_LEN_MAX).unwrap() {
        let Notice::Acks(list) = Notice::decode(content).unwrap() else {
            panic!()
        };
        seen.extend(list.iter());
        (rest, frames) = (&rest[used..], frames + 1);
    }
    assert!(rest.is_empty() && frames == 3, "{frames} frames");
    assert_eq!(seen, all);

    let path = [Sha256Hash([3; 32]); PATH_LEN_MAX as usize];
    let receipts: Vec<(u64, u32, &[Sha256Hash])> = (0..600).map(|i| (i, 0, &path[..])).collect();
    let mut bytes = Vec::new();
    encode_receipts(&mut bytes, &HEADER, &receipts);
    let (mut rest, mut count) = (&bytes[..], 0);
    while let Some((content, used)) = next_frame(rest, NOTICE_LEN_MAX).unwrap() {
        let Notice::Receipts(list) = Notice::decode(content).unwrap() else {
            panic!()
        };
        (rest, count) = (&rest[used..], count + list.iter().count());
    }
    assert!(rest.is_empty());
    assert_eq!(count, 600);
}

#[test]
fn a_goodbye_text_is_cut_at_a_character() {
    let mut bytes = Vec::new();
    encode_goodbye(&mut bytes, GoodbyeCode::BadFrame, &"é".repeat(200));
    let Notice::Goodbye { text, .. } = Notice::decode(&bytes[LENGTH_LEN..]).unwrap() else {
        panic!()
    };
    assert_eq!(text.len(), 256);
    let odd = format!("a{}", "é".repeat(200));
    let mut bytes = Vec::new();
    encode_goodbye(&mut bytes, GoodbyeCode::BadFrame, &odd);
    let Notice::Goodbye { text, .. } = Notice::decode(&bytes[LENGTH_LEN..]).unwrap() else {
        panic!()
    };
    assert_eq!(text.len(), 255);
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_the_decoders_panic(
        head in 0usize..6,
        bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..400),
    ) {
        let mut content = vec![1, kind::WELCOME + head as u8];
        content.extend_from_slice(&bytes);
        if let Ok(Notice::Receipts(list)) = Notice::decode(&content) {
            proptest::prop_assert!(list.iter().count() >= 1);
        }
        content[1] = 1 + (head as u8) % 2;
        let _ = super::super::Request::decode(&content);
        let _ = next_frame(&bytes, NOTICE_LEN_MAX);
    }
}
