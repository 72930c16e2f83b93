//! Signatures of scheme 2.A: plain SHA-256 over concatenated text, in lower-case hex. Source: "Invoke API with Access Token" and "Get
//! Access Token" of the APIM manual; the vendor's published signature is among the tests.

use sha2::{Digest, Sha256};

/// `encryption` of a token call: sha256(key + timestamp + secret). `timestamp`: epoch milliseconds.
pub(super) fn encryption(access_key: &str, timestamp: i64, secret: &str) -> String {
    sha256(&[access_key.as_bytes(), timestamp.to_string().as_bytes(), secret.as_bytes()])
}

/// `apim-signature`: sha256(token + sorted query + body + timestamp + secret). Query values unescaped, body byte for byte as sent.
pub(super) fn signature(token: &str, query: &[(&str, &str)], body: &[u8], timestamp: i64, secret: &str) -> String {
    let params = params(query);
    sha256(&[token.as_bytes(), params.as_bytes(), body, timestamp.to_string().as_bytes(), secret.as_bytes()])
}

/// Names and values, sorted by name, nothing between them.
fn params(query: &[(&str, &str)]) -> String {
    let mut sorted = query.to_vec();
    sorted.sort_by_key(|(name, _)| *name);
    sorted.into_iter().flat_map(|(name, value)| [name, value]).collect()
}

fn sha256(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    hex::encode(hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORG: (&str, &str) = ("orgId", "o15000000000001");
    const TIME: i64 = 1_700_000_000_000;
    const SECRET: &str = "66666666-7777-8888-9999-aaaaaaaaaaaa";

    fn vendors(desc: &str) -> String {
        let body = format!("{{\n  \"count\": 20,\n  \"page\": 1,\n  \"desc\": \"{desc}\"\n}}");
        signature("xxxxaaaxxxx", &[("k3", "v3"), ("k1", "v1"), ("k2", "v2")], body.as_bytes(), 1_572_574_909_697, "xxxappSecretxxx")
    }

    #[test]
    fn the_vendors_own_signature() {
        assert_eq!(vendors("描述"), "59828328f6c1f9771015dc74e4929ae30f518a35a3d2353972c2ea46556fc981");
        // With the description that the English manual prints beside that signature, another signature results.
        assert_eq!(vendors("description"), "ad6dc6fc97f4290f3724e94eab38168d8613c41c3a4569b4b8b0efbce96a816c");
    }

    #[test]
    fn the_encryption_of_a_token_call() {
        let found = encryption("11111111-2222-3333-4444-555555555555", TIME, SECRET);
        assert_eq!(found, "ebb96fd0b35d66896e2eb80f1225e14778667c694a76268ce2bfb5c01b6da6e3");
    }

    #[test]
    fn the_signatures_of_calls() {
        let list = [("pageSize", "10"), ORG, ("pageNo", "1"), ("isSystem", "false"), ("ifReleased", "true")];
        let start = r#"{"executionMode":0,"kafkaRate":1000,"resourceConfig":{"server":"1"}}"#;
        for (query, body, expected) in [
            (&[ORG][..], "", "f2b332be74f9fa7a6f52bdc681c07da4f7bd1e917d6d0561a517ffbc3ae01972"),
            (&list, "", "bdec0940000cc6a85b97709c54cd1896afd6066b3daff5035cce40540ae28af0"),
            (&[ORG, ("action", "pause")], "", "115dd71db5028499fe344530eca9ad59ff51ffbef4317e0ca5350f3ad0606a9d"),
            (&[ORG, ("action", "start")], start, "35a8204ff6f1ff493f49b333a1aabd1365172421cae9a448b038cccc6e97e2bc"),
        ] {
            assert_eq!(signature("test-access-token-0001", query, body.as_bytes(), TIME, SECRET), expected, "{query:?}");
        }
        assert_eq!(params(&list), "ifReleasedtrueisSystemfalseorgIdo15000000000001pageNo1pageSize10");
    }
}
