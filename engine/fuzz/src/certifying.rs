//! Four authorities that have signed one batch.

use std::sync::{Arc, LazyLock};

use fairlane_engine::certificate::{
    Certificate, CertificateKeys, CertificateSecret, CertifiedHeader, Vouch, aggregate,
};
use fairlane_engine::types::{AuthorityIndex, BatchSeq, ChainId, Epoch, Sha256Hash};

/// Keys, and what all of them have signed.
#[derive(Debug)]
pub struct Certifying {
    /// What certificates are checked with.
    pub keys: Arc<CertificateKeys>,
    /// The one header that was signed.
    pub header: CertifiedHeader,
    secrets: Vec<CertificateSecret>,
}

impl Certifying {
    /// The word of an authority, 0 to 3.
    pub fn vouch(&self, author: u8) -> Vouch {
        Vouch {
            seq: self.header.seq,
            hash: self.header.hash,
            signature: self.secrets[usize::from(author)].sign(&self.header),
        }
    }

    /// The certificate of authorities 0 to `signers` - 1; none when they are too few.
    pub fn certificate(&self, signers: u8) -> Option<Certificate> {
        let signed: Vec<_> = (0..signers)
            .map(|author| (AuthorityIndex(author), self.vouch(author).signature))
            .collect();
        aggregate(&self.header, &signed, &self.keys).certificate
    }
}

/// Always the same ones.
pub fn certifying() -> &'static Certifying {
    static MADE: LazyLock<Certifying> = LazyLock::new(|| {
        let secrets: Vec<_> = (0..4u8)
            .map(|author| CertificateSecret::generate(&[author + 1; 32]))
            .collect();
        let encoded: Vec<_> = secrets
            .iter()
            .map(|secret| (secret.public().bytes(), secret.possession()))
            .collect();
        let keys = CertificateKeys::new(ChainId(1), Epoch(0), &encoded);
        Certifying {
            keys: Arc::new(keys.expect("keys that were just drawn are possessed")),
            header: CertifiedHeader {
                chain_id: ChainId(1),
                epoch: Epoch(0),
                seq: BatchSeq(9),
                hash: Sha256Hash([7; 32]),
            },
            secrets,
        }
    });
    &MADE
}
