//! Whether a value of a Secret or a ConfigMap holds the PEM that it should, and what it looks like otherwise. TLS libraries would take an
//! empty CA for "trust the system's CAs".

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// What a value has to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Certificates,
    Key,
}

impl Form {
    /// As a sentence says it.
    pub fn expected(self) -> &'static str {
        match self {
            Form::Certificates => "certificates in PEM (-----BEGIN CERTIFICATE-----)",
            Form::Key => "a private key in PEM without a password (-----BEGIN PRIVATE KEY-----, RSA and EC likewise)",
        }
    }

    fn is(self, label: &str) -> bool {
        match self {
            Form::Certificates => matches!(label, "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE"),
            Form::Key => label.ends_with("PRIVATE KEY"),
        }
    }
}

/// # Errors
/// What the value is instead, as the end of a sentence about it.
pub fn check(value: &[u8], form: Form) -> Result<(), String> {
    if value.iter().all(u8::is_ascii_whitespace) {
        return Err("it is empty".to_owned());
    }
    let Ok(text) = std::str::from_utf8(value) else { return Err(binary(value).to_owned()) };
    let blocks = blocks(text);
    let Some(found) = blocks.iter().find(|block| form.is(block.label)) else {
        return Err(match blocks.first() {
            Some(other) => format!("it holds PEM, but of another kind ({})", stream_pipeline_core::words::cut(other.label, 64)),
            None if encoded_twice(text) => {
                "it is PEM that was encoded in base64 once more: under `data` encode it once, or use `stringData`".to_owned()
            }
            None if text.contains("-----BEGIN ") => "it holds the beginning of PEM and not its end: it was cut".to_owned(),
            None => "it is other text".to_owned(),
        });
    };
    if form == Form::Key && (found.label.starts_with("ENCRYPTED") || found.body.contains("ENCRYPTED")) {
        return Err("the key has a password (openssl pkey takes it off)".to_owned());
    }
    let damaged = blocks.iter().filter(|block| form.is(block.label)).any(|block| !is_der(block.body));
    if damaged { Err("what stands between BEGIN and END is damaged".to_owned()) } else { Ok(()) }
}

/// Whether it is PEM of something else than certificates alone, such as a key: that may stand beside CAs in a Secret.
pub fn is_of_another_kind(value: &[u8]) -> bool {
    let blocks = std::str::from_utf8(value).map(blocks).unwrap_or_default();
    !blocks.is_empty() && !blocks.iter().any(|block| Form::Certificates.is(block.label))
}

struct Block<'a> {
    label: &'a str,
    body: &'a str,
}

fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("-----BEGIN ") {
        rest = after;
        let Some((label, after)) = after.split_once("-----") else { break };
        let end = format!("-----END {label}-----");
        if label.contains('\n') {
            continue;
        }
        let Some((body, after)) = after.split_once(end.as_str()) else { continue };
        found.push(Block { label, body });
        rest = after;
    }
    found
}

/// An ASN.1 sequence in base64; older keys have headers before it.
fn is_der(body: &str) -> bool {
    let body: Vec<&str> = body.lines().filter(|line| !line.contains(':')).collect();
    decoded(&body.join("\n")).is_some_and(|der| der.first() == Some(&0x30))
}

fn encoded_twice(text: &str) -> bool {
    decoded(text).is_some_and(|inner| inner.starts_with(b"-----BEGIN "))
}

/// Base64, over any number of lines.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let section = format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", text.trim());
    CertificateDer::from_pem_slice(section.as_bytes()).ok().map(|der| der.to_vec())
}

fn binary(value: &[u8]) -> &'static str {
    // A PKCS#12 container begins with its version, 3.
    let is_pkcs12 = value.first() == Some(&0x30) && value.iter().take(8).collect::<Vec<_>>().windows(3).any(|w| w == [&2, &1, &3]);
    match value {
        _ if is_pkcs12 => "it is binary: a PKCS#12 container (.p12, .pfx); take PEM out of it (openssl pkcs12)",
        [0x30, ..] => "it is binary: DER; write it as PEM (openssl x509 -inform der, openssl pkey -inform der)",
        [0xfe, 0xed, 0xfe, 0xed, ..] => "it is binary: a Java key store; take PEM out of it (keytool -exportcert -rfc)",
        _ => "it is not text",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pem(label: &str, base64: &str) -> String {
        format!("-----BEGIN {label}-----\n{base64}\n-----END {label}-----\n")
    }

    /// An empty sequence.
    const DER: &str = "MAIFAA==";
    /// A certificate's PEM in base64.
    const TWICE: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1BSUZBQT09Ci0tLS0tRU5EIENFUlRJRklDQVRFLS0tLS0K";

    #[test]
    fn c4_what_holds_pem_of_its_form_passes() {
        let certificate = pem("CERTIFICATE", DER);
        for good in
            [certificate.clone(), format!("subject=CN=x\n{certificate}\n# the old one\n{certificate}"), certificate.replace('\n', "\r\n")]
        {
            assert_eq!(check(good.as_bytes(), Form::Certificates), Ok(()), "{good}");
        }
        for label in ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"] {
            let good = format!("{}{}", pem("EC PARAMETERS", "BgA="), pem(label, DER));
            assert_eq!(check(good.as_bytes(), Form::Key), Ok(()), "{good}");
        }
    }

    #[test]
    fn c4_what_does_not_is_told_by_what_it_is() {
        let (certificate, key) = (pem("CERTIFICATE", DER), pem("PRIVATE KEY", DER));
        let legacy = key.replace("KEY-----\nMA", "KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nMA");
        for (value, form, said) in [
            (&b""[..], Form::Certificates, "it is empty"),
            (b" \n\t\r\n", Form::Certificates, "it is empty"),
            (b"", Form::Key, "it is empty"),
            (b"changeit", Form::Certificates, "other text"),
            (&[0x30, 0x82, 0x03, 0xe8, 0x30, 0x82, 0xff], Form::Certificates, "DER"),
            (&[0x30, 0x82, 0x03, 0xe8, 2, 1, 3, 0x30, 0x82, 0xff], Form::Key, "PKCS#12"),
            (&[0xfe, 0xed, 0xfe, 0xed, 0, 0], Form::Certificates, "Java key store"),
            (&[0xff, 0xfe, 0], Form::Certificates, "not text"),
            (key.as_bytes(), Form::Certificates, "of another kind (PRIVATE KEY)"),
            (certificate.as_bytes(), Form::Key, "of another kind (CERTIFICATE)"),
            (TWICE.as_bytes(), Form::Certificates, "base64 once more"),
            (&certificate.as_bytes()[..40], Form::Certificates, "it was cut"),
            (pem("CERTIFICATE", "bm90aGluZw==").as_bytes(), Form::Certificates, "damaged"),
            (format!("{certificate}{}", pem("CERTIFICATE", "")).as_bytes(), Form::Certificates, "damaged"),
            (pem("ENCRYPTED PRIVATE KEY", DER).as_bytes(), Form::Key, "has a password"),
            (legacy.as_bytes(), Form::Key, "has a password"),
        ] {
            let told = check(value, form).unwrap_err();
            assert!(told.contains(said), "{said}: {told}");
        }
        assert!(is_of_another_kind(key.as_bytes()) && !is_of_another_kind(b"") && !is_of_another_kind(certificate.as_bytes()));
    }
}
