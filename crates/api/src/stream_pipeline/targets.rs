//! The fields of `spec.offsetReset.to`, of which exactly one is given: what admission says of them follows from this table.

/// One of the fields.
struct TargetField {
    name: &'static str,
    starts_from: Start,
}

/// What a target starts from: policies for what lacks it mean nothing with the others.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Start {
    Anywhere,
    /// A committed offset of the group.
    Own,
    /// The same, with this value of the field.
    OwnWith(&'static str),
    /// A committed offset of another group.
    Other,
    /// What a record holds, whatever is committed now.
    Record,
}

/// Which targets start from a committed offset of the group.
pub(super) const OWN_COMMIT: fn(Start) -> bool = |start| matches!(start, Start::Own | Start::OwnWith(_));
/// Which targets start from a committed offset.
pub(super) const A_COMMIT: fn(Start) -> bool = |start| !matches!(start, Start::Anywhere | Start::Record);

/// A target has one row here and one in `stream-pipeline-core`, `target`.
const TARGETS: [TargetField; 9] = [
    TargetField { name: "position", starts_from: Start::OwnWith("Current") },
    TargetField { name: "timestamp", starts_from: Start::Anywhere },
    TargetField { name: "lookback", starts_from: Start::Anywhere },
    TargetField { name: "shiftBy", starts_from: Start::Own },
    TargetField { name: "offset", starts_from: Start::Anywhere },
    TargetField { name: "offsets", starts_from: Start::Anywhere },
    TargetField { name: "offsetsFrom", starts_from: Start::Anywhere },
    TargetField { name: "consumerGroup", starts_from: Start::Other },
    TargetField { name: "undo", starts_from: Start::Record },
];

/// "exactly one of position, timestamp, shiftBy".
pub fn exactly_one() -> String {
    format!("exactly one of {}", TARGETS.map(|field| field.name).join(", "))
}

/// CEL: whether one of them is there.
pub(super) fn any() -> String {
    TARGETS.map(|field| format!("has(self.{})", field.name)).join(" || ")
}

/// CEL: whether several are not.
pub(super) fn at_most_one() -> String {
    format!("{} <= 1", TARGETS.map(|field| format!("(has(self.{}) ? 1 : 0)", field.name)).join(" + "))
}

/// CEL: a policy does not have this value where the target is one of `which`.
pub(super) fn not_from(policy: &str, value: &str, which: fn(Start) -> bool) -> String {
    let given = |field: &TargetField| match field.starts_from {
        Start::OwnWith(value) => format!("has(self.to.{0}) && self.to.{0} == '{value}'", field.name),
        _ => format!("has(self.to.{})", field.name),
    };
    let given: Vec<_> = TARGETS.iter().filter(|field| which(field.starts_from)).map(given).collect();
    format!("!has(self.to) || !({}) || !has(self.{policy}) || self.{policy} != '{value}'", given.join(" || "))
}

/// "to.position: Current or to.shiftBy".
pub(super) fn names_from(which: fn(Start) -> bool) -> String {
    let name = |field: &TargetField| match field.starts_from {
        Start::OwnWith(value) => format!("to.{}: {value}", field.name),
        _ => format!("to.{}", field.name),
    };
    TARGETS.iter().filter(|field| which(field.starts_from)).map(name).collect::<Vec<_>>().join(" or ")
}
