//! Digests over several parts.

use sha2::{Digest, Sha256};

/// SHA-256 over the parts, each with its length in front, so that ("a", "bc") is not ("ab", "c").
pub fn of_parts(parts: impl IntoIterator<Item = impl AsRef<[u8]>>) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.as_ref().len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}
