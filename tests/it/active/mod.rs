//! A group that is in use is never moved: what keeps it busy is named, and the reset starts by itself once it is at rest.

mod assigned;
mod members;
mod quiet_period;
