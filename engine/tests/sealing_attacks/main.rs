//! Attacks on the sealing that must fail, each a test that carries it out.
//!
//! | attack | test |
//! |---|---|
//! | a flipped bit anywhere | every bit of an envelope: `seal::proof::tests::an_envelope_with_any_bit_flipped_is_refused`; of a share message: `seal::share::tests::a_message_with_any_bit_flipped_is_refused`; at random: `seal_properties` |
//! | a copied U under another label, epoch, rollup or sender | [`envelopes`]`::a_seal_copied_under_another_label_is_refused`, `::a_copied_u_with_a_proof_of_ones_own_is_refused`, `::a_label_changed_after_all_opens_nothing` |
//! | a proof replayed on other bytes | [`envelopes`]`::a_proof_replayed_on_other_bytes_is_refused` |
//! | non-canonical, identity and small-order encodings | [`envelopes`]`::no_bad_encoding_passes_in_any_field`, [`shares`]`::no_bad_encoding_passes_in_a_share_message` |
//! | a valid proof over garbage | [`outcomes`], and in a whole committee `small_committee::an_envelope_whose_content_is_garbage_is_void_on_every_node_and_stalls_nothing` |
//! | a share message too short, too long, permuted, for another batch, with one wrong share, with a wrong proof; sent first, sent twice | [`shares`]`::a_bad_message_sent_first_and_twice_changes_no_byte_of_the_batch` and the tests beside it |
//! | t - 1 shares | [`shares`]`::one_share_less_than_t_opens_nothing`, `seal_properties::fewer_than_t_shares_do_not_open` |
//! | shares mixed between epochs | [`shares`]`::shares_of_another_epochs_key_never_mix_in` |
//! | a client in league with an authority | [`league`] |
//! | whichever t messages come first | [`outcomes`] |
//! | the same envelope to two authorities with different bytes | [`committee`]`::an_envelope_sent_in_two_forms_is_two_envelopes_on_every_node`, `::a_spoiled_copy_is_refused_and_the_true_one_fetched` |
//! | a digest claimed by a peer that does not match | [`committee`]`::other_bytes_than_the_digest_names_are_never_taken` |

#![allow(
    clippy::unwrap_used,
    reason = "in a test, an unwrap that fails is the finding"
)]

mod committee;
#[path = "../common/mod.rs"]
mod common;
mod envelopes;
mod league;
mod net;
mod outcomes;
mod shares;
