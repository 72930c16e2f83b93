//! Sentences people read: numbers first, then the next step. Kept short enough for a condition.

use std::collections::BTreeSet;
use std::time::Duration;

use icu_properties::CodePointMapData;
use icu_properties::props::{BinaryProperty, DefaultIgnorableCodePoint, GeneralCategory};
use jiff::Timestamp;

use super::ReadBack;
use stream_pipeline_api::{BackendIdentity, RunStateBefore};

/// At most this many names in one sentence, each of at most this many bytes: enough for a topic's whole name and a remark.
const NAMES: usize = 12;
const NAME: usize = 400;

/// "a, b, c and 488 more".
pub fn some_of<S: AsRef<str>>(names: &[S]) -> String {
    let shown: Vec<String> = names.iter().take(NAMES).map(|name| cut(name.as_ref(), NAME)).collect();
    match names.len().saturating_sub(NAMES) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// "1 offset", "3 offsets".
pub fn many(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// "group turbine of cluster 4L6g3nShT-eMCtK--X86sw".
pub fn place(place: &BackendIdentity) -> String {
    match place {
        BackendIdentity::Kafka { cluster_id, consumer_group } => {
            format!("group {} of cluster {}", name(consumer_group), cut(cluster_id, NAME))
        }
        BackendIdentity::Enos { org_id, pipeline_id } => {
            format!("pipeline {} of organization {}", cut(pipeline_id, NAME), cut(org_id, NAME))
        }
    }
}

/// Stands in for the principal in a command, with how to find it, where it is not known.
const PRINCIPAL: &str = " (<principal> is the brokers' name for this client: the subject of its certificate or the sub of its token, unless they \
                         map it; the brokers' authorizer log has it)";

/// The command that grants what a reset needs on a group (`--group`) or a topic (`--topic`). Without a principal it has a placeholder, and
/// says how to find the principal.
pub fn acl(principal: Option<&str>, resource: &str, name: &str) -> String {
    grant(principal, &format!("--operation Read --operation Describe {resource} {}", shell(&cut(name, 256))))
}

/// The command that grants what deleting a group's commits needs on the group.
pub fn acl_to_delete(principal: Option<&str>, group: &str) -> String {
    grant(principal, &format!("--operation Delete --group {}", shell(&cut(group, 256))))
}

/// The command that grants Describe on the cluster.
pub fn acl_of_cluster(principal: Option<&str>) -> String {
    grant(principal, "--operation Describe --cluster")
}

fn grant(principal: Option<&str>, what: &str) -> String {
    match principal {
        Some(principal) => format!("kafka-acls --add --allow-principal {} {what}", shell(&format!("User:{}", cut(principal, 128)))),
        None => format!("kafka-acls --add --allow-principal 'User:<principal>' {what}{PRINCIPAL}"),
    }
}

/// The same for several topics, at least one; as many are named as fit in a sentence.
pub fn acl_of_topics(principal: Option<&str>, topics: &BTreeSet<&str>) -> String {
    let shown: String = topics.iter().take(NAMES).map(|name| format!(" --topic {}", shell(&cut(name, 256)))).collect();
    let command = grant(principal, &format!("--operation Read --operation Describe{shown}"));
    match topics.len().saturating_sub(NAMES) {
        0 => command,
        more => format!("{command} (and {more} more topics)"),
    }
}

/// Quoted so that a shell takes it as one word.
pub fn shell(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:/@%+=,".contains(c);
    if text.contains(|c| c != ' ' && is_blank(c)) {
        let spelled = |c: char| match c {
            '\'' | '\\' => format!("\\{c}"),
            c if c != ' ' && is_blank(c) => format!("\\u{:04x}", u32::from(c)),
            c => c.to_string(),
        };
        format!("$'{}'", text.chars().map(spelled).collect::<String>())
    } else if text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

/// Characters that a terminal or a reader does not show: controls, line separators, formats (marks of direction, joiners, tags), and those
/// that are not drawn. Blanks are no such characters: in a name they are spelled out.
pub fn is_unseen(c: char) -> bool {
    use GeneralCategory::{Control, Format, LineSeparator, ParagraphSeparator};
    // A short cut: most characters are plain ASCII.
    if matches!(c, ' '..='~') {
        return false;
    }
    let category = CodePointMapData::<GeneralCategory>::new().get(c);
    matches!(category, Control | Format | LineSeparator | ParagraphSeparator) || DefaultIgnorableCodePoint::for_char(c) && !is_blank(c)
}

/// Looks like a space or like nothing.
fn is_blank(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{115f}' | '\u{1160}' | '\u{2800}' | '\u{3164}' | '\u{ffa0}')
}

/// A name for use in a sentence: quoted and spelled out if a part of it could not be seen.
pub fn name(name: &str) -> String {
    let name = cut(name, NAME);
    if !name.contains(is_blank) {
        return name;
    }
    let spelled = |c: char| match c {
        '"' | '\\' => format!("\\{c}"),
        c if c != ' ' && is_blank(c) => format!("\\u{{{:x}}}", u32::from(c)),
        c => c.to_string(),
    };
    format!("\"{}\"", name.chars().map(spelled).collect::<String>())
}

/// A space in place of each character that is not seen.
pub fn clean(text: &str) -> String {
    text.chars().map(|c| if is_unseen(c) { ' ' } else { c }).collect()
}

/// Cleaned, and cut at a character boundary to at most `limit` bytes.
pub fn cut(text: &str, limit: usize) -> String {
    let mut clean = clean(text);
    if clean.len() > limit {
        let end = (0..=limit.saturating_sub(3)).rev().find(|&i| clean.is_char_boundary(i)).unwrap_or(0);
        clean.truncate(end);
        clean.push('…');
    }
    clean
}

/// "9 of 12 partitions at their target, 3 as before, 0 elsewhere".
pub fn read_back(s: &ReadBack) -> String {
    let (a, b, c) = (s.at_target.len(), s.as_before.len(), s.elsewhere.len());
    format!("{a} of {} partitions at their target, {b} as before, {c} elsewhere", a + b + c)
}

/// The text without times and durations, so that two texts can be compared for news.
pub fn apart_from_times(text: &str) -> String {
    let is_time = |word: &str| word.parse::<Timestamp>().is_ok() || word.parse::<jiff::civil::Time>().is_ok();
    let is_number = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let is_unit = |word: &str| matches!(word, "ms" | "s" | "min" | "h");
    let is_span =
        |word: &str| word.find(|c: char| c.is_ascii_alphabetic()).is_some_and(|at| is_number(&word[..at]) && is_unit(&word[at..]));
    let bare = |word: &'_ str| word.trim_matches(|c: char| c.is_ascii_punctuation()).to_owned();
    let words: Vec<_> = text.split_whitespace().map(|word| (word, bare(word))).collect();
    let counts = |n: usize| words.get(n + 1).is_some_and(|(_, next)| is_unit(next));
    let kept = words.iter().enumerate().filter(|(n, (_, word))| !(is_time(word) || is_span(word) || is_number(word) && counts(*n)));
    kept.map(|(_, (word, _))| *word).collect::<Vec<_>>().join(" ")
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

/// A record's time, even if it is not a sensible one.
pub fn time_of(milliseconds: i64) -> String {
    Timestamp::from_millisecond(milliseconds).map_or_else(|_| format!("{milliseconds} ms since 1970"), |t| t.to_string())
}

/// "1 partition", "12 partitions".
pub fn partitions(n: usize) -> String {
    if n == 1 { "1 partition".to_owned() } else { format!("{} partitions", number(i64::try_from(n).unwrap_or(i64::MAX))) }
}

/// Why a plan was no longer sent.
pub fn too_slow(window: Duration) -> String {
    format!(
        "more than {} s went by between the write of the plan and its send: the API server, or the pipeline's platform, answers slowly",
        window.as_secs()
    )
}

/// Joins two sentences.
pub fn and(first: &str, second: &str) -> String {
    format!("{}. {second}", first.trim_end_matches('.'))
}

/// "The operator keeps at 0 since 2026-11-23T08:00:00Z: Deployment d (it had 2)".
pub fn kept(before: &RunStateBefore, since: Timestamp) -> String {
    let since = second(since);
    if before.workloads.is_empty() {
        return format!("The operator keeps the pipeline paused since {since}");
    }
    let name = |w: &stream_pipeline_api::ScaledWorkload| format!("{} {} (it had {})", w.kind, w.name, w.replicas);
    let names: Vec<_> = before.workloads.iter().filter(|w| w.replicas > 0).map(name).collect();
    format!("The operator keeps at 0 since {since}: {}", some_of(&names))
}

/// "chunk 2 of 3".
pub fn chunk(n: usize, of: usize) -> String {
    format!("chunk {n} of {of}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_seen_becomes_a_space() {
        for hostile in [
            "\u{0}",
            "\n",
            "\r",
            "\t",
            "\u{1b}",
            "\u{7f}",
            "\u{9b}",
            "\u{ad}",
            "\u{200d}",
            "\u{2028}",
            "\u{2029}",
            "\u{202e}",
            "\u{2066}",
            "\u{feff}",
            "\u{e0041}",
            // Formats of scripts, of shorthand, of music; a joiner that is a mark.
            "\u{890}",
            "\u{8e2}",
            "\u{110bd}",
            "\u{13430}",
            "\u{1343f}",
            "\u{1bca0}",
            "\u{1d173}",
            "\u{34f}",
        ] {
            assert_eq!(cut(&format!("a{hostile}b"), 64), "a b", "{hostile:?}");
        }
        assert_eq!(cut("Größe 大小 \u{1f600} e\u{301}", 64), "Größe 大小 \u{1f600} e\u{301}");
    }

    #[test]
    fn d8_a_name_whose_blanks_would_not_be_seen_is_quoted() {
        for (plain, told, in_a_shell) in [
            ("mg", "mg", "mg"),
            ("größe", "größe", "'größe'"),
            ("mg ", "\"mg \"", "'mg '"),
            ("x y", "\"x y\"", "'x y'"),
            ("m\u{a0}g", "\"m\\u{a0}g\"", "$'m\\u00a0g'"),
            ("it's\u{3000}", "\"it's\\u{3000}\"", "$'it\\'s\\u3000'"),
            ("\u{3164}", "\"\\u{3164}\"", "$'\\u3164'"),
        ] {
            assert_eq!(name(plain), told);
            let command = acl(Some("u"), "--group", plain);
            assert!(command.ends_with(&format!("--group {in_a_shell}")), "{command}");
        }
    }

    #[test]
    fn a_sentence_that_differs_in_times_only_says_nothing_new() {
        let same = |a: &str, b: &str| apart_from_times(a) == apart_from_times(b);
        assert!(same("waits for 9 s more (2026-01-01T00:00:00Z).", "waits for 12 s more (2026-01-01T00:00:03Z)."));
        assert!(same("no answer within 10s", "no answer within 250ms"));
        assert!(!same("2 members: a, b", "3 members: a, b"));
        assert!(!same("chunk 2 of 3", "chunk 3 of 3"));
        assert!(!same("t-1 is at 7 s is a name", "t-2 is at 7 s is a name"));
    }

    #[test]
    fn many_and_long_names_make_a_short_sentence() {
        let names: Vec<_> = (0..500).map(|n| format!("{n}\u{202e}{}", "x".repeat(10_000))).collect();
        let text = some_of(&names);
        assert!(text.ends_with(" and 488 more") && text.len() < 8 * 1024 && !text.contains(is_unseen), "{} bytes", text.len());
    }
}
