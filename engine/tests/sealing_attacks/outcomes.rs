//! The law of opening: what a batch is follows from its envelopes alone, whichever messages of whichever authorities a
//! node used, in whatever order they came.

use curve25519_dalek::ristretto::RistrettoPoint;
use fairlane_engine::reveal::plan::BatchPlan;
use fairlane_engine::seal::{LABEL_LEN, LabelFields, ShareMessage, open_envelope, seal};
use proptest::prelude::*;
use proptest::sample::{Index, subsequence};

use crate::common::hostile::{bent, client_r, resigned};
use crate::net::{FIELDS, FIRST, Net, signing_key};

/// An entry of the batch.
#[derive(Clone, Debug)]
enum Sealed {
    Honest,
    Garbage,
    WrongR,
    /// In league with one of the faulty, for the case that its share meets those of these others first.
    League {
        with: Index,
        others: Vec<Index>,
    },
}

/// What a faulty authority does to its honest message.
#[derive(Clone, Copy, Debug)]
enum Lie {
    Silent,
    /// Off by the error that leagues count on, in every share.
    Bent,
    Permuted,
    Short,
    Unsigned,
    /// True shares under a proof that fails.
    BadProof,
    None,
}

#[derive(Clone, Debug)]
struct Case {
    authorities: usize,
    threshold: u32,
    faulty: Vec<(usize, Lie)>,
    sealed: Vec<Sealed>,
    /// Draws the orders in which messages come on two nodes.
    orders: [Vec<Index>; 2],
    owns: [Index; 2],
}

fn sealed() -> impl Strategy<Value = Sealed> {
    prop_oneof![
        3 => Just(Sealed::Honest),
        1 => Just(Sealed::Garbage),
        1 => Just(Sealed::WrongR),
        2 => (any::<Index>(), prop::collection::vec(any::<Index>(), 8))
            .prop_map(|(with, others)| Sealed::League { with, others }),
    ]
}

fn lie() -> impl Strategy<Value = Lie> {
    prop::sample::select(vec![
        Lie::Silent,
        Lie::Bent,
        Lie::Bent,
        Lie::Permuted,
        Lie::Short,
        Lie::Unsigned,
        Lie::BadProof,
        Lie::None,
    ])
}

fn cases() -> impl Strategy<Value = Case> {
    let sizes = prop::sample::select(vec![(4, 1), (5, 1), (7, 2)]);
    let sizes = sizes.prop_flat_map(|(n, f): (usize, usize)| (Just(n), Just(f), f + 1..=n - f));
    sizes.prop_flat_map(|(n, f, t)| {
        let liars = (
            subsequence(Vec::from_iter(0..n), f),
            prop::collection::vec(lie(), f),
        );
        let order = || prop::collection::vec(any::<Index>(), n);
        (
            liars,
            prop::collection::vec(sealed(), 1..5),
            [order(), order()],
            any::<[Index; 2]>(),
        )
            .prop_map(move |((faulty, lies), sealed, orders, owns)| Case {
                authorities: n,
                threshold: t as u32,
                faulty: faulty.into_iter().zip(lies).collect(),
                sealed,
                orders,
                owns,
            })
    })
}

/// Takes `count` of `from`, drawn by `draws`.
fn draw(mut from: Vec<usize>, draws: &[Index], count: usize) -> Vec<usize> {
    let drawn = draws
        .iter()
        .take(count)
        .map(|draw| from.swap_remove(draw.index(from.len())));
    drawn.collect()
}

fn error() -> RistrettoPoint {
    RistrettoPoint::mul_base(&client_r(1_000))
}

fn envelopes(case: &Case, net: &Net) -> Vec<Vec<u8>> {
    let make = |(at, sealed): (usize, &Sealed)| match sealed {
        Sealed::Honest => net.sealed(&[at as u8; 9], at as u8),
        Sealed::Garbage => net.garbage(at as u64),
        Sealed::WrongR => net.wrong_r(at as u64),
        Sealed::League { with, others } => {
            let with = case.faulty[with.index(case.faulty.len())].0;
            let all = (0..case.authorities).filter(|other| *other != with);
            let others = draw(all.collect(), others, case.threshold as usize - 1);
            net.league(at as u64, with, &others, &error(), None)
        }
    };
    case.sealed.iter().enumerate().map(make).collect()
}

fn message(net: &Net, plan: &BatchPlan, author: usize, lie: Lie) -> Option<ShareMessage> {
    let honest = net.message(author, plan);
    let with =
        |change: &dyn Fn(&mut ShareMessage)| Some(resigned(&honest, &signing_key(author), change));
    match lie {
        Lie::Silent => None,
        Lie::None => Some(honest),
        Lie::Bent => with(&|message| {
            for share in &mut message.shares {
                *share = bent(share, &error());
            }
        }),
        Lie::Permuted => with(&|message| message.shares.reverse()),
        Lie::Short => with(&|message| message.shares.truncate(plan.envelopes.len() - 1)),
        Lie::BadProof => with(&|message| message.zeta = [1; 32]),
        Lie::Unsigned => {
            let mut message =
                with(&|message| message.shares[0] = bent(&message.shares[0], &error()))?;
            message.signature = [0; 64];
            Some(message)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_batch_is_the_same_bytes_on_every_node_whatever_f_authorities_and_any_clients_send(
        case in cases(),
    ) {
        let net = Net::new(0, case.authorities as u32, case.threshold);
        let plan = net.plan(FIRST, &envelopes(&case, &net));
        let is_faulty = |author: usize| case.faulty.iter().any(|(liar, _)| *liar == author);
        let correct: Vec<usize> = (0..case.authorities).filter(|a| !is_faulty(*a)).collect();
        let expected = case.sealed.iter().enumerate().map(|(at, sealed)| match sealed {
            Sealed::Honest => Some(vec![at as u8; 9]),
            _ => None,
        });
        let expected: Vec<Option<Vec<u8>>> = expected.collect();

        let mut archives = Vec::new();
        for (own, order) in case.owns.iter().zip(&case.orders) {
            let own = correct[own.index(correct.len())];
            let others: Vec<usize> = (0..case.authorities).filter(|a| *a != own).collect();
            let count = others.len();
            let arriving = draw(others, order, count).into_iter().filter_map(|author| {
                let lie = case.faulty.iter().find(|(liar, _)| *liar == author);
                message(&net, &plan, author, lie.map_or(Lie::None, |(_, lie)| *lie))
            });
            let (opened, mut reveal) = net.run(own, &plan, arriving);
            let opened = opened.expect("the correct ones are enough");
            prop_assert_eq!(&opened.payloads, &expected);
            for evidence in reveal.take_evidence() {
                prop_assert!(is_faulty(evidence.author().as_usize()), "only the guilty");
            }
            archives.push(opened.archive);
        }
        prop_assert_eq!(&archives[0], &archives[1]);
    }
}

#[test]
fn a_batch_holds_payloads_without_their_padding_and_only_what_lacks_it_as_carried() {
    let net = Net::new(0, 4, 3);
    let padded = |padded_len| LabelFields {
        padded_len,
        ..FIELDS
    };
    let sealed =
        |payload: &[u8], to, entropy| seal(&net.key, &padded(to), payload, &[entropy; 64]).unwrap();
    let open = |payload: &[u8], to| open_envelope(&net.key, &padded(to), payload).unwrap();
    let mut without_marker = open(b"hello", Some(9));
    without_marker[LABEL_LEN + 5] = 7;
    let envelopes = [
        sealed(b"first", Some(64), 1),
        sealed(b"as long as it is\x80\0", None, 2),
        open(b"in the clear", Some(128)),
        sealed(b"", Some(1), 3),
        without_marker,
        net.garbage(5),
        sealed(b"ends in a marker\x80", Some(40), 4),
    ];
    let plan = net.plan(FIRST, &envelopes);
    let messages = (1..4).map(|author| net.message(author, &plan));
    let opened = net.run(0, &plan, messages).0.expect("t messages are there");
    let expected: [Option<&[u8]>; 7] = [
        Some(b"first"),
        Some(b"as long as it is\x80\0"),
        Some(b"in the clear"),
        Some(b""),
        Some(b"hello\x07\0\0\0"),
        None,
        Some(b"ends in a marker\x80"),
    ];
    let found: Vec<Option<&[u8]>> = opened.payloads.iter().map(Option::as_deref).collect();
    assert_eq!(found, expected);
}
