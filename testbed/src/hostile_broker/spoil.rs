//! One change to the body of an answer: a field by its schema, a count or a length in place, or bytes at random.

use std::ops::Range;

use fastrand::Rng;
use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::StrBytes;

use super::attack::Attack;
use super::fields::{Answer, Field};

/// No offset of a test is near these, and what is added to ends of logs is not what is added to commits: no two lies, and no lie and
/// a truth, are ever the same.
const FAR_COMMIT: i64 = 77_000_001;
const FAR_END: i64 = 1_000_003;

/// The body with this done to it; None where it has nothing to which it could be done.
pub fn spoiled(attack: Attack, api: ApiKey, version: i16, body: &[u8], rng: &mut Rng) -> Option<Vec<u8>> {
    match attack {
        Attack::Truncated => (!body.is_empty()).then(|| body[..rng.usize(..body.len())].to_vec()),
        Attack::BytesAtRandom => at_random(body, rng),
        Attack::NegativeCount | Attack::HugeCount | Attack::Null | Attack::WrongLength => {
            in_place(attack, &Answer::decode(api, version, body)?, version, rng)
        }
        _ => {
            let mut answer = Answer::decode(api, version, body)?;
            falsify(attack, api, &mut answer, version, rng)?;
            answer.encode(version).filter(|spoiled| spoiled != body)
        }
    }
}

fn at_random(body: &[u8], rng: &mut Rng) -> Option<Vec<u8>> {
    let mut spoiled = body.to_vec();
    for _ in 0..rng.usize(1..=16) {
        let at = rng.usize(..body.len().max(1));
        *spoiled.get_mut(at)? ^= rng.u8(1..);
    }
    Some(spoiled)
}

/// Which fields an attack changes.
fn is_for(attack: Attack, field: &Field<'_>) -> bool {
    match attack {
        Attack::WrongGroup => matches!(field, Field::Group(_)),
        Attack::WrongTopic => matches!(field, Field::Topic(_)),
        Attack::WrongPartition => matches!(field, Field::Partition(_)),
        Attack::WrongOffset => matches!(field, Field::Offset(_)),
        Attack::WrongText => matches!(field, Field::Text(_)),
        Attack::WrongNumber => matches!(field, Field::Number(_)),
        Attack::WrongCode => matches!(field, Field::Code(_)),
        Attack::WrongVersion => matches!(field, Field::Version(_)),
        Attack::Missing => matches!(field, Field::List(list) if list.len() > 0),
        Attack::OneMore | Attack::NegativeCount | Attack::HugeCount => matches!(field, Field::List(_)),
        Attack::Null | Attack::WrongLength => matches!(field, Field::Group(_) | Field::Topic(_) | Field::Text(_)),
        _ => false,
    }
}

/// How many fields it could change.
fn count(attack: Attack, answer: &Answer, version: i16) -> usize {
    let mut found = 0;
    answer.clone().walk(version, &mut |field| found += usize::from(is_for(attack, &field)));
    found
}

/// One of the fields, or each of them.
fn falsify(attack: Attack, api: ApiKey, answer: &mut Answer, version: i16, rng: &mut Rng) -> Option<()> {
    let fields = count(attack, answer, version);
    let one = rng.usize(..fields.max(1));
    let each = rng.u8(..4) == 0;
    let mut n = 0;
    answer.walk(version, &mut |field| {
        if is_for(attack, &field) {
            if each || n == one {
                change(attack, api, field, rng);
            }
            n += 1;
        }
    });
    (fields > 0).then_some(())
}

fn change(attack: Attack, api: ApiKey, field: Field<'_>, rng: &mut Rng) {
    match field {
        Field::Group(text) | Field::Topic(text) | Field::Text(text) => *text = StrBytes::from_string(wrong_text(text, rng)),
        Field::Partition(n) => *n = [n.wrapping_add(1), n.wrapping_sub(1), -1, 1000, i32::MIN, i32::MAX][rng.usize(..6)],
        Field::Number(n) => *n = [n.wrapping_add(1), 0, 1, -1, -2, 70_000, i32::MIN, i32::MAX][rng.usize(..8)],
        Field::Offset(n) => {
            let to_commits = [n.saturating_add(FAR_COMMIT), n.saturating_add(FAR_COMMIT), -FAR_COMMIT, i64::MAX, i64::MIN];
            let to_ends = [n.saturating_add(FAR_END), n.saturating_add(FAR_END), -FAR_END, i64::MAX - 1, i64::MIN + 1];
            *n = if api == ApiKey::ListOffsets { to_ends } else { to_commits }[rng.usize(..5)];
        }
        Field::Code(n) => *n = CODES[rng.usize(..CODES.len())],
        Field::Version(n) => *n = [n.wrapping_add(1), n.wrapping_sub(1), 0, -1, 999, i16::MIN, i16::MAX][rng.usize(..7)],
        Field::List(list) if attack == Attack::Missing => match rng.bool() {
            true => list.clear(),
            false => list.remove_last(),
        },
        Field::List(list) => match rng.bool() {
            true => list.repeat_last(),
            false => list.add_default(),
        },
    }
}

/// Known ones and others.
#[rustfmt::skip]
const CODES: [i16; 26] = [
    -1, 1, 3, 5, 7, 9, 14, 15, 16, 22, 25, 27, 28, 29, 30, 35, 41, 69, 74, 88, 100, 113, 132, 999, i16::MIN, i16::MAX,
];

fn wrong_text(text: &str, rng: &mut Rng) -> String {
    match rng.u8(..9) {
        0 => String::new(),
        1 => format!("{text}x"),
        2 => "another".to_owned(),
        3 => "Dead".to_owned(),
        4 => "127.0.0.1".to_owned(),
        5 => "broker.invalid".to_owned(),
        6 => "red \u{1b}[31m\nERROR all is lost".to_owned(),
        7 => "\u{202e}gnp.exe\u{2028}\u{200d}".to_owned(),
        _ => "x".repeat(3000),
    }
}

/// What the crate would never write: a count or a length other than what follows it.
fn in_place(attack: Attack, answer: &Answer, version: i16, rng: &mut Rng) -> Option<Vec<u8>> {
    let n = rng.usize(..count(attack, answer, version).max(1));
    let (at, now) = place(attack, answer, version, n)?;
    let mut body = answer.encode(version)?;
    let compact = answer.is_compact(version);
    let (begin, mut end) = (at.start, at.end);
    let bytes = match attack {
        Attack::NegativeCount if compact => [vec![0], varint(u32::MAX), varint(1 << 31), vec![0xff; 10]][rng.usize(..4)].clone(),
        Attack::NegativeCount => [-1, -2, i32::MIN][rng.usize(..3)].to_be_bytes().to_vec(),
        Attack::HugeCount => {
            let count = [now + 1, now + 1000, 1_000_000, 100_000_000, i32::MAX - 1][rng.usize(..5)];
            if compact { varint(count.unsigned_abs() + 1) } else { count.to_be_bytes().to_vec() }
        }
        Attack::Null => {
            // Without what the text was, or with it.
            if rng.bool() {
                end += usize::try_from(now).ok()?;
            }
            if compact { vec![0] } else { (-1_i16).to_be_bytes().to_vec() }
        }
        _ if compact => {
            let now = now.unsigned_abs();
            [varint(now), varint(now + 2), varint(now + 101), varint(u32::MAX), varint(1 << 31), vec![0xff; 10]][rng.usize(..6)].clone()
        }
        _ => {
            let now = i16::try_from(now).ok()?;
            [now - 1, now + 1, now + 100, -2, i16::MIN, i16::MAX][rng.usize(..6)].to_be_bytes().to_vec()
        }
    };
    body.splice(begin..end, bytes);
    Some(body)
}

/// Where the count or the length of the n-th field is, and what it says: the first byte that differs when there is one more.
fn place(attack: Attack, answer: &Answer, version: i16, n: usize) -> Option<(Range<usize>, i32)> {
    let mut longer = answer.clone();
    let (mut at, mut now) = (0, None);
    longer.walk(version, &mut |field| {
        if is_for(attack, &field) {
            if at == n {
                match field {
                    Field::List(list) => {
                        now = Some(list.len());
                        list.repeat_last();
                    }
                    Field::Group(text) | Field::Topic(text) | Field::Text(text) => {
                        now = Some(text.len());
                        *text = StrBytes::from_string(format!("{}x", text.as_str()));
                    }
                    _ => {}
                }
            }
            at += 1;
        }
    });
    let now = i32::try_from(now?).ok()?;
    let (short, long) = (answer.encode(version)?, longer.encode(version)?);
    let last = short.iter().zip(&long).position(|(a, b)| a != b)?;
    let is_list = matches!(attack, Attack::NegativeCount | Attack::HugeCount);
    let found = match (answer.is_compact(version), is_list) {
        (true, _) => last..last + varint(now.unsigned_abs() + 1).len(),
        (false, true) => last.checked_sub(3)?..last + 1,
        (false, false) => last.checked_sub(1)?..last + 1,
    };
    let said = match (answer.is_compact(version), is_list) {
        (true, _) => varint(now.unsigned_abs() + 1),
        (false, true) => now.to_be_bytes().to_vec(),
        (false, false) => i16::try_from(now).ok()?.to_be_bytes().to_vec(),
    };
    (short.get(found.clone())? == said).then_some((found, now))
}

fn varint(mut n: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    while n > 0x7f {
        bytes.push(n as u8 | 0x80);
        n >>= 7;
    }
    bytes.push(n as u8);
    bytes
}
