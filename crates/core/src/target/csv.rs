//! The CSV that `kafka-consumer-groups --export` writes and `--from-file` reads, in both its forms: `topic,partition,offset`, and with the
//! group before (KIP-122, KIP-222). There is no heading.

use std::collections::{BTreeMap, BTreeSet};

use super::Written;
use crate::{Cause, TopicPartition, words};
use stream_pipeline_api::{MAX_ROWS, MAX_TOPICS, Reason};

/// Most characters of a line that a message shows.
const SHOWN: usize = 80;

/// The offsets of one group.
///
/// # Errors
/// `InvalidTarget`, with the number of the first line that is wrong, and the line.
pub fn parse(text: &str, group: &str) -> Result<BTreeMap<TopicPartition, Written>, Cause> {
    let mut rows = BTreeMap::new();
    // Some editors end lines with a carriage return alone, which a CSV reader takes for the end of a line, too.
    let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n").replace('\r', "\n");
    let lines = (1..).zip(text.split('\n')).filter(|(_, line)| !line.trim().is_empty());
    for (number, line) in lines {
        let said = |wrong: &str| {
            let shown = words::cut(&words::clean(line), SHOWN);
            let text = format!("line {number} of to.offsetsFrom ({shown}): {wrong}. Nothing was sent. Correct it, with a new id");
            Cause::new(Reason::InvalidTarget, text)
        };
        let (at, offset) = fields(line).and_then(|fields| row(&fields, group)).map_err(|wrong| said(&wrong))?;
        if let Some(before) = rows.insert(at, Written { offset, line: Some(number) }) {
            return Err(said(&format!("this partition is on line {} too", before.line.unwrap_or_default())));
        }
        if rows.len() > MAX_ROWS {
            return Err(too_large(&format!("more than {} partitions", words::number(MAX_ROWS as i64))));
        }
    }
    let topics: BTreeSet<&str> = rows.keys().map(|at: &TopicPartition| at.topic.as_str()).collect();
    if topics.len() > MAX_TOPICS {
        return Err(too_large(&format!("more than {} topics", words::number(MAX_TOPICS as i64))));
    }
    if rows.is_empty() {
        return Err(Cause::new(
            Reason::InvalidTarget,
            "the CSV of to.offsetsFrom has no line; nothing was sent. Write one for each partition, with a new id",
        ));
    }
    Ok(rows)
}

/// Line by line: a name of Kafka holds no line end, and the reader does not count lines that are blank.
fn fields(line: &str) -> Result<csv::StringRecord, String> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).buffer_capacity(1024).from_reader(line.as_bytes());
    reader.records().next().ok_or("it is empty")?.map_err(|error| error.to_string())
}

fn too_large(what: &str) -> Cause {
    let text = format!(
        "the CSV of to.offsetsFrom has {what}, more than fit in one record. Nothing was sent. Split it, with a new id for each part"
    );
    Cause::new(Reason::PlanTooLarge, text)
}

fn row(record: &csv::StringRecord, group: &str) -> Result<(TopicPartition, i64), String> {
    let fields: Vec<&str> = record.iter().map(str::trim).collect();
    let [topic, partition, offset] = match *fields.as_slice() {
        [topic, partition, offset] => [topic, partition, offset],
        [of, topic, partition, offset] if of == group => [topic, partition, offset],
        [of, _, _, _] => return Err(format!("it is of group {}, not of {}", words::name(of), words::name(group))),
        _ => return Err(format!("it has {} columns, and topic,partition,offset or group,topic,partition,offset is needed", fields.len())),
    };
    if topic.is_empty() {
        return Err("the topic is empty".to_owned());
    }
    let of_a_name = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if topic.len() > 249 || !topic.chars().all(of_a_name) {
        return Err("the topic is no name of Kafka's: letters, digits, '.', '_' and '-', at most 249".to_owned());
    }
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let partition = Some(partition).filter(|p| digits(p)).and_then(|p| p.parse().ok()).ok_or("the partition is not a number from 0 on")?;
    let offset = Some(offset).filter(|o| digits(o)).and_then(|o| o.parse().ok()).ok_or("the offset is not a number from 0 on")?;
    Ok((TopicPartition::new(topic, partition), offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Vec<(String, i64)>, String> {
        parse(text, "g").map(|rows| rows.iter().map(|(at, w)| (at.to_string(), w.offset)).collect()).map_err(|cause| cause.message)
    }

    #[test]
    fn k25_both_forms_of_the_tool_are_read() {
        let expected = Ok(vec![("t-0".to_owned(), 5), ("t-1".to_owned(), 6)]);
        assert_eq!(parsed("t,0,5\nt,1,6\n"), expected);
        assert_eq!(parsed("g,t,0,5\r\n\"g\",\"t\",1,6\r\n\r\n"), expected, "with the group, quoted, line ends of Windows");
        assert_eq!(parsed("\u{feff}t,0,5\rt,1,6"), expected, "a mark of the byte order, and carriage returns alone");
        assert_eq!(parsed("t, 1 ,6\nt,0,5"), expected, "in any order, with spaces, without a last line end");
    }

    #[test]
    fn k25_what_is_wrong_is_told_with_its_line() {
        for (text, says) in [
            ("t,0,5\nt,1\n", "line 2 of to.offsetsFrom (t,1): it has 2 columns"),
            ("t,0,5\nt,x,6\n", "line 2 of to.offsetsFrom (t,x,6): the partition is not a number"),
            ("t,0,-5\n", "line 1 of to.offsetsFrom (t,0,-5): the offset is not a number from 0 on"),
            ("t,0,1e3\n", "the offset is not a number"),
            ("t,0,99999999999999999999\n", "the offset is not a number"),
            ("t,0,5\n\nt,0,6\n", "line 3 of to.offsetsFrom (t,0,6): this partition is on line 1 too"),
            ("other,t,0,5\n", "line 1 of to.offsetsFrom (other,t,0,5): it is of group other, not of g"),
            ("topic,partition,offset\nt,0,5\n", "line 1 of to.offsetsFrom (topic,partition,offset): the partition is not a number"),
            (",0,5\n", "the topic is empty"),
            ("t,0,5\nt x,0,5\n", "line 2 of to.offsetsFrom (t x,0,5): the topic is no name of Kafka's"),
            ("t\u{200b},0,5\n", "the topic is no name of Kafka's"),
            ("\n\n", "has no line"),
        ] {
            let told = parsed(text).unwrap_err();
            assert!(told.contains(says), "{text:?}: {told}");
        }
        let many: String = (0..=MAX_ROWS).map(|n| format!("t,{n},0\n")).collect();
        assert!(parsed(&many).unwrap_err().contains("more than 20,000 partitions"));
        let many: String = (0..=MAX_TOPICS).map(|n| format!("t{n},0,0\n")).collect();
        assert!(parsed(&many).unwrap_err().contains("more than 1,000 topics"));
        let long = parsed(&format!("{}\n", "x".repeat(5000))).unwrap_err();
        assert!(long.len() < 300, "{long}");
    }
}
