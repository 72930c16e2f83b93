//! The fields of `spec.offsetReset.to`, of which exactly one is given: what admission says of them follows from this table.

use super::Target;

/// One of the fields.
pub struct TargetField {
    pub name: &'static str,
    /// It starts from a committed offset, so that policies which do without one mean nothing with it.
    pub from_commit: bool,
    pub is_given: fn(&Target) -> bool,
}

/// A target has one row here and one in `stream-pipeline-core`, `target`.
pub const TARGETS: [TargetField; 3] = [
    TargetField { name: "position", from_commit: false, is_given: |to| to.position.is_some() },
    TargetField { name: "timestamp", from_commit: false, is_given: |to| to.timestamp.is_some() },
    TargetField { name: "shiftBy", from_commit: true, is_given: |to| to.shift_by.is_some() },
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

/// CEL: a policy does not have the value that means nothing where the target starts from a committed offset.
pub(super) fn needs_no_commit(policy: &str, value: &str) -> String {
    let given: Vec<_> = from_commit().map(|name| format!("has(self.to.{name})")).collect();
    let given = if given.len() == 1 { given.concat() } else { format!("({})", given.join(" || ")) };
    format!("!has(self.to) || !{given} || !has(self.{policy}) || self.{policy} != '{value}'")
}

/// "to.shiftBy".
pub(super) fn from_commit_names() -> String {
    from_commit().map(|name| format!("to.{name}")).collect::<Vec<_>>().join(" or ")
}

/// "to.position or to.timestamp".
pub(super) fn other_names() -> String {
    let others = TARGETS.iter().filter(|field| !field.from_commit).map(|field| format!("to.{}", field.name));
    others.collect::<Vec<_>>().join(" or ")
}

fn from_commit() -> impl Iterator<Item = &'static str> {
    TARGETS.iter().filter(|field| field.from_commit).map(|field| field.name)
}
