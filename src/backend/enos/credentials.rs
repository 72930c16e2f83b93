//! An access key and its secret. The secret is never shown, logged or compared; it only enters digests.

use std::fmt::{self, Write as _};

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

/// What an application of EnOS has (`appKey`, `appSecret`). Used byte for byte as given: nothing is trimmed.
#[derive(Clone)]
pub struct Credentials {
    access_key: String,
    secret_key: SecretString,
}

impl Credentials {
    pub fn new(access_key: impl Into<String>, secret_key: impl Into<String>) -> Self {
        Self { access_key: access_key.into(), secret_key: SecretString::from(secret_key.into()) }
    }

    pub fn access_key(&self) -> &str {
        &self.access_key
    }

    pub(super) fn secret(&self) -> &str {
        self.secret_key.expose_secret()
    }

    /// Whether the key or the secret ends with a line break: the usual mistake of `kubectl create secret --from-file`.
    pub fn ends_with_newline(&self) -> bool {
        [self.access_key(), self.secret()].iter().any(|v| v.ends_with(['\n', '\r']))
    }

    pub fn is_empty(&self) -> bool {
        self.access_key.is_empty() || self.secret().is_empty()
    }

    /// SHA-256 over key and secret, with the key's length in front, so that ("a", "bc") is not ("ab", "c"). Tells rotated credentials
    /// apart; not for showing.
    pub fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update((self.access_key.len() as u64).to_be_bytes());
        hash.update(self.access_key.as_bytes());
        hash.update(self.secret().as_bytes());
        hash.finalize().into()
    }

    /// `text` without the key, the secret and `others`, in whatever case they come back.
    pub(super) fn scrub(&self, text: &str, others: &[&str]) -> String {
        let own = [self.secret(), self.secret().trim(), self.access_key(), self.access_key().trim()];
        own.iter().chain(others).fold(text.to_owned(), |text, word| {
            let text = without(&text, word);
            if word.is_empty() {
                return text;
            }
            without(&without(&text, &percent(word)), &base64(word.as_bytes()))
        })
    }
}

/// As it stands in a URL.
fn percent(word: &str) -> String {
    word.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => out.push(char::from(byte)),
            _ => _ = write!(out, "%{byte:02X}"),
        }
        out
    })
}

/// As it stands in a Secret.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |three: &[u8]| {
        let bits = three.iter().chain([&0, &0]).take(3).fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte));
        (0..=three.len()).map(move |at| char::from(DIGITS[bits >> (18 - 6 * at) & 63])).collect::<String>()
    };
    bytes.chunks(3).map(group).collect()
}

fn without(text: &str, word: &str) -> String {
    if word.is_empty() {
        return text.to_owned();
    }
    // Both keep their length in ASCII lower case, so positions in one are positions in the other.
    let (lower, word) = (text.to_ascii_lowercase(), word.to_ascii_lowercase());
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    for (at, found) in lower.match_indices(&word) {
        out.push_str(&text[done..at]);
        out.push('…');
        done = at + found.len();
    }
    out.push_str(&text[done..]);
    out
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_tell_credentials_apart() {
        let digest = |k, s| Credentials::new(k, s).digest();
        assert_eq!(digest("a", "bc"), digest("a", "bc"));
        assert_ne!(digest("a", "bc"), digest("ab", "c"));
        assert_ne!(digest("a", "bc"), digest("a", "bc\n"));
    }

    #[test]
    fn a_line_break_is_kept_and_told() {
        assert!(Credentials::new("k", "s\n").ends_with_newline());
        assert!(Credentials::new("k\r\n", "s").ends_with_newline());
        assert!(!Credentials::new("k", "s").ends_with_newline());
    }

    #[test]
    fn nothing_secret_is_left_in_a_text() {
        let credentials = Credentials::new("the-key", "S3cret-Ü\n");
        let text = "key THE-KEY with s3CRET-Ü, token Tok-1 twice tok-1; déjà vu";
        assert_eq!(credentials.scrub(text, &["Tok-1", ""]), "key … with …, token … twice …; déjà vu");
        assert_eq!(format!("{credentials:?}"), "Credentials(…)");
        let credentials = Credentials::new("a/b+c", "pä&s=");
        assert_eq!(
            (base64("pä&s=".as_bytes()), base64(b"a"), base64(b"ab"), base64(b"abc")),
            ("cMOkJnM9".into(), "YQ".into(), "YWI".into(), "YWJj".into())
        );
        assert_eq!(credentials.scrub("?key=a%2fb%2Bc&s=p%C3%A4%26s%3D, cMOkJnM9, YS9iK2M=", &[]), "?key=…&s=…, …, …=");
    }
}
