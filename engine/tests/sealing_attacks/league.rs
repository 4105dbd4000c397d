//! A client in league with an authority: it seals under the D that comes out when that authority's share is false.
//!
//! Were an envelope accepted because it opens, or because it opens to an r with U = r g, it would be revealed on the nodes
//! that used the false share and void on all others. D = r X is what tells them apart.

use curve25519_dalek::ristretto::RistrettoPoint;
use fairlane_engine::seal::{SharePoints, combine_claimed, open_claimed, opened_len, reveals_hold};
use fairlane_engine::types::AuthorityIndex;

use crate::common::hostile::{bent, client_r, resigned};
use crate::net::{FIRST, Net, open_with, signing_key};

const LEAGUE: usize = 1;
/// Of four, the first to reach the node that uses the false share.
const OTHERS: [usize; 2] = [0, 2];

fn error() -> RistrettoPoint {
    RistrettoPoint::mul_base(&client_r(1_000))
}

/// The attack is a real one: with the false share the envelope opens, to the right r.
#[test]
fn under_the_false_share_the_envelope_opens_to_the_right_r_and_only_d_gives_it_away() {
    let net = Net::new(0, 4, 3);
    let plan = net.plan(FIRST, &[net.league(7, LEAGUE, &OTHERS, &error(), None)]);
    let claims = [LEAGUE, OTHERS[0], OTHERS[1]].map(|author| {
        let message = resigned(
            &net.message(author, &plan),
            &signing_key(author),
            |message| {
                if author == LEAGUE {
                    message.shares[0] = bent(&message.shares[0], &error());
                }
            },
        );
        message
            .claim(&net.key, plan.seq, plan.order_root, 1)
            .unwrap()
    });
    let shares: Vec<&SharePoints> = claims.iter().map(AsRef::as_ref).collect();
    let points = combine_claimed(&net.key, &shares).unwrap();
    let envelope = &plan.envelopes[0];
    let mut out = vec![0; opened_len(envelope)];
    let reveal = open_claimed(envelope, &points[0], &mut out).unwrap();
    assert_eq!(reveal.r, client_r(7).to_bytes(), "U = r g holds");
    assert_eq!(&out[32..], b"stolen!!");
    let u = envelope.u().unwrap();
    assert!(!reveals_hold(
        &net.key,
        &[3; 32],
        &[(u, &points[0], reveal)]
    ));
}

#[test]
fn it_is_void_on_every_node_whichever_shares_came_first_and_its_neighbours_open() {
    let net = Net::new(0, 4, 3);
    for inner_r in [None, Some(client_r(8))] {
        let envelopes = [
            net.sealed(b"before", 1),
            net.league(7, LEAGUE, &OTHERS, &error(), inner_r),
            net.sealed(b"behind", 2),
        ];
        let plan = net.plan(FIRST, &envelopes);
        let honest = |author| net.message(author, &plan);
        let lie = resigned(&honest(LEAGUE), &signing_key(LEAGUE), |message| {
            message.shares[1] = bent(&message.shares[1], &error());
        });
        let mut found = Vec::new();
        for (own, arriving) in [
            (0, vec![lie.clone(), honest(2), honest(3)]),
            (0, vec![honest(2), lie.clone(), honest(3)]),
            (0, vec![honest(2), honest(3), lie.clone()]),
            (2, vec![lie.clone(), honest(0), honest(3)]),
            (3, vec![lie.clone(), honest(0), honest(2)]),
            // The authority gives its true share after all.
            (0, vec![honest(LEAGUE), honest(2)]),
        ] {
            let mut reveal = net.reveal(own);
            let opened = open_with(&mut reveal, &plan, arriving).unwrap();
            let payloads = [Some(b"before".to_vec()), None, Some(b"behind".to_vec())];
            assert_eq!(opened.payloads, payloads);
            found.push(opened);
            for evidence in reveal.take_evidence() {
                assert_eq!(evidence.author(), AuthorityIndex(LEAGUE as u8));
            }
        }
        assert!(found.iter().all(|opened| *opened == found[0]));
    }
}
