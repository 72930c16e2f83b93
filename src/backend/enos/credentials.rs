//! An access key and its secret. The secret is never shown, logged or compared; it is only hashed.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};

use stream_pipeline_core::digest;

/// What a URL escapes (RFC 3986): all but the unreserved characters.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

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

    /// Tells rotated credentials apart; not for showing.
    pub fn digest(&self) -> [u8; 32] {
        digest::of_parts([self.access_key(), self.secret()])
    }

    /// `text` without the key, the secret and `others`, whether in upper or lower case.
    pub(super) fn scrub(&self, text: &str, others: &[&str]) -> String {
        let own = [self.secret(), self.secret().trim(), self.access_key(), self.access_key().trim()];
        own.iter().chain(others).fold(text.to_owned(), |text, word| {
            let text = without(&text, word);
            if word.is_empty() {
                return text;
            }
            // Also in the forms in which a URL and a Secret hold it.
            let (escaped, encoded) = (utf8_percent_encode(word, RESERVED).to_string(), STANDARD_NO_PAD.encode(word));
            without(&without(&text, &escaped), &encoded)
        })
    }
}

fn without(text: &str, word: &str) -> String {
    if word.is_empty() {
        return text.to_owned();
    }
    // ASCII lower case keeps the length, so positions in one are positions in the other.
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
        assert_eq!(credentials.scrub("?key=a%2fb%2Bc&s=p%C3%A4%26s%3D, cMOkJnM9, YS9iK2M=", &[]), "?key=…&s=…, …, …=");
    }
}
