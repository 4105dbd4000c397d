//! How a client seals: one payload, or many at once.
//!
//! An envelope takes five products of fixed points (r g, s g, r g2, s g2 and r X) in constant time and the encoding of them
//! all with one inversion. In lanes (`seal/many.rs`) the five are one pass; of eight envelopes they are five full passes.

use chacha20poly1305::aead::inout::InOutBuf;
use chacha20poly1305::{AeadInOut, ChaCha20Poly1305, KeyInit, Nonce};
use curve25519_dalek::scalar::Scalar;
use zeroize::Zeroizing;

use super::envelope::{
    LabelFields, SEALED_OVERHEAD, SealError, SealedFields, content_key, make_label, push_padded,
};
use super::group::{Transcript, base_generator, second_generator};
use super::key::SealingKey;
use super::label::{EnvelopeKind, LABEL_LEN};
use super::many::{Generator, double_fixed_products};

/// One payload to be sealed.
#[derive(Clone, Copy)]
pub struct Unsealed<'a> {
    /// What its label says.
    pub fields: &'a LabelFields,
    /// What is sealed.
    pub payload: &'a [u8],
    /// 64 fresh uniformly random bytes; to send again, send the same bytes again.
    pub entropy: &'a [u8; 64],
}

/// Seals `payload` to `key`.
///
/// `entropy` is 64 fresh uniformly random bytes; to send again, send the same bytes again. The secrets are derived from
/// it together with label and payload, so that even repeated entropy does not encrypt two payloads under one key.
///
/// Errors: a payload that is too long, or a padded length that is too short.
pub fn seal(
    key: &SealingKey,
    fields: &LabelFields,
    payload: &[u8],
    entropy: &[u8; 64],
) -> Result<Vec<u8>, SealError> {
    let draft = Draft::new(
        key,
        &Unsealed {
            fields,
            payload,
            entropy,
        },
    )?;
    let mut sealed = finished(key, &[&draft]);
    Ok(sealed.pop().expect("one envelope a draft"))
}

/// Seals each as [`seal()`] does, to the same bytes, many in half the time; in their order.
///
/// Errors, one a payload: as [`seal()`].
pub fn seal_all(key: &SealingKey, all: &[Unsealed<'_>]) -> Vec<Result<Vec<u8>, SealError>> {
    let mut out = Vec::with_capacity(all.len());
    for some in all.chunks(SEALED_TOGETHER) {
        let drafts: Vec<_> = some.iter().map(|one| Draft::new(key, one)).collect();
        let sound: Vec<&Draft<'_>> = drafts.iter().flatten().collect();
        let mut sealed = finished(key, &sound).into_iter();
        out.extend(drafts.iter().map(|draft| match draft {
            Ok(_) => Ok(sealed.next().expect("one envelope a draft")),
            Err(error) => Err(*error),
        }));
    }
    out
}

/// What is known of an envelope before its points are.
struct Draft<'a> {
    label: [u8; LABEL_LEN],
    payload: &'a [u8],
    /// Payload and padding, in bytes.
    carried_len: usize,
    r: Zeroizing<Scalar>,
    s: Zeroizing<Scalar>,
    // Encoding doubles is cheap in a batch, encoding the points themselves is not; so the halves are multiplied.
    r_half: Zeroizing<Scalar>,
    s_half: Zeroizing<Scalar>,
}

impl<'a> Draft<'a> {
    fn new(key: &SealingKey, unsealed: &Unsealed<'a>) -> Result<Self, SealError> {
        let Unsealed {
            fields,
            payload,
            entropy,
        } = *unsealed;
        let label = make_label(EnvelopeKind::Sealed, key, fields, payload)?;
        let carried_len = label.payload_len as usize;
        let label = label.encode();
        let secret = |tag| {
            Transcript::new(tag)
                .part(entropy)
                .part(&label)
                .part(payload)
                .secret_scalar()
        };
        // Zero, which every verifier would refuse, comes up with probability 2^-252.
        let (r, s) = (secret(TAG_SEAL_R), secret(TAG_SEAL_S));
        Ok(Self {
            label,
            payload,
            carried_len,
            r_half: Zeroizing::new(r.div_by_2()),
            s_half: Zeroizing::new(s.div_by_2()),
            r,
            s,
        })
    }

    /// The envelope, from U, U2, W, W2 and D.
    fn finished(&self, points: &[[u8; 32]; 4], d: &[u8; 32]) -> Vec<u8> {
        let mut out = Vec::with_capacity(SEALED_OVERHEAD + self.carried_len);
        out.extend_from_slice(&self.label);
        out.extend_from_slice(points.as_flattened());
        let content_at = out.len();
        out.extend_from_slice(self.r.as_bytes());
        push_padded(&mut out, self.payload, self.carried_len);
        let [u, u2, w, w2] = points;
        let content_key = content_key(u, d, &self.label);
        let tag = ChaCha20Poly1305::new((&*content_key).into())
            .encrypt_inout_detached(
                &Nonce::default(),
                &[],
                InOutBuf::from(&mut out[content_at..]),
            )
            .expect("an envelope is far below the cipher's 256 GiB");
        out.extend_from_slice(&tag);
        let unproven = SealedFields {
            label: &self.label,
            u,
            u2,
            w,
            w2,
            ciphertext: &out[content_at..],
            z: &[0; 32],
        };
        let z = *self.s + *self.r * unproven.challenge();
        out.extend_from_slice(z.as_bytes());
        out
    }
}

/// The envelopes of `drafts`, in their order.
fn finished(key: &SealingKey, drafts: &[&Draft<'_>]) -> Vec<Vec<u8>> {
    let (first, second) = (base_generator(), second_generator());
    // Those of one point side by side.
    let mut terms: Vec<(&Generator, &Scalar)> = Vec::with_capacity(5 * drafts.len());
    for generator in [first, second] {
        for draft in drafts {
            terms.extend([(generator, &*draft.r_half), (generator, &*draft.s_half)]);
        }
    }
    terms.extend(drafts.iter().map(|draft| (key.generator(), &*draft.r_half)));
    let products = double_fixed_products(&terms);
    let (of_first, rest) = products.split_at(2 * drafts.len());
    let (of_second, of_key) = rest.split_at(2 * drafts.len());
    let of_first = of_first.as_chunks::<2>().0.iter();
    let of_second = of_second.as_chunks::<2>().0.iter();
    let points = of_first.zip(of_second).zip(of_key);
    let both = drafts.iter().zip(points);
    both.map(|(draft, (([u, w], [u2, w2]), d))| draft.finished(&[*u, *u2, *w, *w2], d))
        .collect()
}

/// Envelopes that share an inversion: more would hardly share it better, and each takes some KiB while it waits.
const SEALED_TOGETHER: usize = 64;
const TAG_SEAL_R: &str = "fairlane/1/seal-r";
const TAG_SEAL_S: &str = "fairlane/1/seal-s";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::fixture::{Net, fields};

    #[test]
    fn many_are_sealed_to_the_bytes_of_each_alone_and_a_refused_one_harms_no_other() {
        let key = Net::new(0, 4, 3).key;
        let payloads: Vec<Vec<u8>> = (0..150usize).map(|at| vec![at as u8; at % 70]).collect();
        let fields: Vec<LabelFields> = (0..150)
            .map(|at| LabelFields {
                sender_tag: [at; 16],
                // Too short for every payload but the empty one.
                padded_len: (at % 7 == 3).then_some(1),
                ..fields()
            })
            .collect();
        let entropies: Vec<[u8; 64]> = (0..150).map(|at| [at; 64]).collect();
        let item = |at: usize| Unsealed {
            fields: &fields[at],
            payload: &payloads[at],
            entropy: &entropies[at],
        };
        let mut refused = 0;
        for count in [0, 1, 2, 7, 8, 9, 63, 64, 65, 150] {
            let all: Vec<Unsealed<'_>> = (0..count).map(item).collect();
            let sealed = seal_all(&key, &all);
            assert_eq!(sealed.len(), count);
            for (one, sealed) in all.iter().zip(sealed) {
                refused += usize::from(sealed.is_err());
                assert_eq!(sealed, seal(&key, one.fields, one.payload, one.entropy));
            }
        }
        assert!(refused > 20, "{refused}");
    }
}
