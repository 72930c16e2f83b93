//! Lenient decoding: scalars as number or string, objects alone or in a list, trailing commas as in the vendor's own sample. It never
//! panics, and takes no more memory than a small multiple of the (bounded) body. What an answer means is not judged here.

pub(super) mod answers;

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use stream_pipeline_core::words::cut;

/// A page has 50 items; a list longer than this is taken for garbage.
const MAX_LIST: usize = 5_000;

/// How many bytes of an id or a name are kept.
const MAX_NAME: usize = 256;

/// Why a body could not be decoded. It quotes nothing of the body: a gateway may repeat a token there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undecodable {
    #[error("the answer is not a JSON object")]
    NotJson,
    #[error("{0}")]
    Shape(String),
}

/// The envelope of both services; every field may be missing. Its Debug shows nothing, because it may hold a token.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Envelope {
    code: Scalar,
    status: Scalar,
    /// The published sample of token/get spells it like this.
    stauts: Scalar,
    msg: Scalar,
    message: Scalar,
    apim_status: Scalar,
    data: Option<Box<RawValue>>,
}

impl Envelope {
    pub fn decode(body: &[u8]) -> Result<Self, Undecodable> {
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii();
        // A derived struct would accept a list as its fields in order: `[0]` must not be a success.
        if body.first() != Some(&b'{') {
            return Err(Undecodable::NotJson);
        }
        let strict = serde_json::from_slice(body);
        strict.or_else(|_| serde_json::from_slice(&tidied(body))).map_err(|_| Undecodable::NotJson)
    }

    /// The streaming service's result code.
    pub fn code(&self) -> Option<i64> {
        self.code.int()
    }

    /// The token service's result code.
    pub fn status(&self) -> Option<i64> {
        self.status.int().or(self.stauts.int()).or(self.code.int())
    }

    pub fn apim_status(&self) -> Option<i64> {
        self.apim_status.int()
    }

    /// The platform's own text, uncut.
    pub fn message(&self) -> String {
        let said = |s: &Scalar| s.text().filter(|t| !t.trim().is_empty()).map(Cow::into_owned);
        said(&self.msg).or_else(|| said(&self.message)).unwrap_or_default()
    }

    /// `data` is `[]`.
    pub fn data_is_empty_list(&self) -> bool {
        let raw = self.data.as_deref().map_or("", RawValue::get);
        raw.strip_prefix('[').and_then(|r| r.strip_suffix(']')).is_some_and(|inside| inside.trim().is_empty())
    }

    /// `data`, None where it is missing, null or an empty string.
    pub fn data<T: DeserializeOwned>(&self) -> Result<Option<T>, Undecodable> {
        match self.data.as_deref().map(RawValue::get) {
            None | Some("null" | "\"\"") => Ok(None),
            Some(raw) => serde_json::from_str(raw)
                .map(Some)
                .map_err(|e| Undecodable::Shape(format!("the data is of no known shape (line {}, column {})", e.line(), e.column()))),
        }
    }
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Envelope(…)")
    }
}

/// The body without commas before a closing bracket, and without bytes that are no UTF-8.
fn tidied(body: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(body);
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let (mut quoted, mut escaped) = (false, false);
    // Where in `out` the last comma is, until something follows it.
    let mut comma = None;
    for &byte in bytes {
        if quoted {
            (quoted, escaped) = (escaped || byte != b'"', !escaped && byte == b'\\');
        } else if matches!(byte, b'}' | b']') {
            if let Some(at) = comma.take() {
                out.truncate(at);
            }
        } else if !byte.is_ascii_whitespace() {
            comma = (byte == b',').then_some(out.len());
            quoted = byte == b'"';
        }
        out.push(byte);
    }
    out
}

/// A number, string, boolean or null; anything else counts as null.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Scalar {
    #[default]
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
}

impl Scalar {
    /// Whole numbers, also in a string or written as a float.
    pub fn int(&self) -> Option<i64> {
        let whole = |f: f64| (f.fract() == 0.0 && f.abs() < 9.0e15).then_some(f as i64);
        match self {
            Scalar::Int(i) => Some(*i),
            Scalar::Float(f) => whole(*f),
            Scalar::Text(t) => t.trim().parse().ok().or_else(|| t.trim().parse().ok().and_then(whole)),
            Scalar::Null | Scalar::Bool(_) => None,
        }
    }

    pub fn text(&self) -> Option<Cow<'_, str>> {
        match self {
            Scalar::Null => None,
            Scalar::Bool(b) => Some(b.to_string().into()),
            Scalar::Int(i) => Some(i.to_string().into()),
            Scalar::Float(f) => Some(f.to_string().into()),
            Scalar::Text(t) => Some(t.as_str().into()),
        }
    }

    /// As a name: cut, cleaned, empty where there is none.
    pub fn name(&self) -> String {
        self.text().map(|t| cut(&t, MAX_NAME)).unwrap_or_default()
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, v: bool) -> Result<Scalar, E> {
        Ok(Scalar::Bool(v))
    }

    fn visit_i64<E>(self, v: i64) -> Result<Scalar, E> {
        Ok(Scalar::Int(v))
    }

    fn visit_u64<E>(self, v: u64) -> Result<Scalar, E> {
        Ok(i64::try_from(v).map_or(Scalar::Float(v as f64), Scalar::Int))
    }

    fn visit_f64<E>(self, v: f64) -> Result<Scalar, E> {
        Ok(Scalar::Float(v))
    }

    fn visit_str<E>(self, v: &str) -> Result<Scalar, E> {
        Ok(Scalar::Text(v.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Scalar, E> {
        Ok(Scalar::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Scalar, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Null)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Null)
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

/// One object or a list of objects. Other things in a list are left out; null and an empty string count as an empty list.
#[derive(Debug)]
pub struct Many<T>(pub Vec<T>);

struct ManyVisitor<T>(std::marker::PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ManyVisitor<T> {
    type Value = Many<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or a list of objects")
    }

    fn visit_unit<E>(self) -> Result<Many<T>, E> {
        Ok(Many(Vec::new()))
    }

    fn visit_str<E: Error>(self, v: &str) -> Result<Many<T>, E> {
        if v.is_empty() { Ok(Many(Vec::new())) } else { Err(E::custom("a string instead of an object or a list of objects")) }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Many<T>, A::Error> {
        Ok(Many(vec![T::deserialize(MapAccessDeserializer::new(map))?]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Many<T>, A::Error> {
        let mut items = Vec::new();
        while let Some(Obj(item)) = seq.next_element()? {
            items.extend(item);
            if items.len() > MAX_LIST {
                return Err(A::Error::custom("the list is too long"));
            }
        }
        Ok(Many(items))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Many<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ManyVisitor(std::marker::PhantomData))
    }
}

/// An object; None for anything else.
struct Obj<T>(Option<T>);

struct ObjVisitor<T>(std::marker::PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjVisitor<T> {
    type Value = Obj<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Obj<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(|item| Obj(Some(item)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Obj<T>, A::Error> {
        ScalarVisitor.visit_seq(seq).map(|_| Obj(None))
    }

    fn visit_unit<E>(self) -> Result<Obj<T>, E> {
        Ok(Obj(None))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Obj<T>, E> {
        Ok(Obj(None))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Obj<T>, E> {
        Ok(Obj(None))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Obj<T>, E> {
        Ok(Obj(None))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Obj<T>, E> {
        Ok(Obj(None))
    }

    fn visit_str<E>(self, _: &str) -> Result<Obj<T>, E> {
        Ok(Obj(None))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Obj<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ObjVisitor(std::marker::PhantomData))
    }
}
