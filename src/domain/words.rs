//! Sentences people read: numbers first, then the next step. Kept short enough for a condition.

use jiff::Timestamp;

use super::Standing;

/// At most this many names in one sentence.
const NAMES: usize = 12;

/// "a, b, c and 488 more".
pub fn some_of<S: AsRef<str>>(names: &[S]) -> String {
    let shown: Vec<&str> = names.iter().take(NAMES).map(AsRef::as_ref).collect();
    match names.len().saturating_sub(NAMES) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// The command that grants what a reset needs of a group (`--group`) or a topic (`--topic`). Without a principal, a place for it.
pub fn acl(principal: Option<&str>, resource: &str, name: &str) -> String {
    let principal = principal.unwrap_or("<principal>");
    let quoted = |text: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:/@%+=,".contains(c);
        if text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
    };
    let (principal, name) = (quoted(&format!("User:{}", cut(principal, 128))), quoted(&cut(name, 256)));
    format!("kafka-acls --add --allow-principal {principal} --operation Read --operation Describe {resource} {name}")
}

/// At most `limit` bytes, cut on a character, without control characters.
pub fn cut(text: &str, limit: usize) -> String {
    let mut clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if clean.len() > limit {
        let end = (0..=limit.saturating_sub(3)).rev().find(|&i| clean.is_char_boundary(i)).unwrap_or(0);
        clean.truncate(end);
        clean.push('…');
    }
    clean
}

/// "9 of 12 partitions at their target, 3 as before, 0 elsewhere".
pub fn standing(s: &Standing) -> String {
    let (a, b, c) = (s.at_target.len(), s.as_before.len(), s.elsewhere.len());
    format!("{a} of {} partitions at their target, {b} as before, {c} elsewhere", a + b + c)
}

/// 1834002 as "1,834,002".
pub fn number(n: i64) -> String {
    let digits = n.unsigned_abs().to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    if n < 0 { format!("-{out}") } else { out }
}

/// "2026-11-23T08:00:00Z".
pub fn second(t: Timestamp) -> String {
    t.round(jiff::Unit::Second).unwrap_or(t).to_string()
}

/// A record's time, also where it is no sensible one.
pub fn time_of(milliseconds: i64) -> String {
    Timestamp::from_millisecond(milliseconds).map_or_else(|_| format!("{milliseconds} ms since 1970"), |t| t.to_string())
}

/// "1 partition", "12 partitions".
pub fn partitions(n: usize) -> String {
    if n == 1 { "1 partition".to_owned() } else { format!("{} partitions", number(i64::try_from(n).unwrap_or(i64::MAX))) }
}

/// "chunk 2 of 3".
pub fn chunk(n: usize, of: usize) -> String {
    format!("chunk {n} of {of}")
}
