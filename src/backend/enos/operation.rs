//! The calls of the Stream Processing API and of its token service.

use strum::{Display, IntoStaticStr};

/// One of these calls, in the short form that logs use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, IntoStaticStr)]
pub enum Operation {
    #[strum(to_string = "connect")]
    Connect,
    #[strum(to_string = "token/get")]
    GetToken,
    #[strum(to_string = "token/refresh")]
    RefreshToken,
    #[strum(to_string = "list")]
    List,
    #[strum(to_string = "details")]
    Details,
    #[strum(to_string = "offset-lag")]
    OffsetLag,
    #[strum(to_string = "reset")]
    Reset,
    #[strum(to_string = "start")]
    Start,
    #[strum(to_string = "pause")]
    Pause,
}

impl Operation {
    /// The manual's name of the call.
    pub fn name(self) -> &'static str {
        match self {
            Operation::Connect => "connect",
            Operation::GetToken => "the token service (get)",
            Operation::RefreshToken => "the token service (refresh)",
            Operation::List => "List Pipelines",
            Operation::Details => "Get Pipeline Details",
            Operation::OffsetLag => "Get Pipeline Offset and Lag",
            Operation::Reset => "Reset Pipeline Offset",
            Operation::Start => "Start Pipeline",
            Operation::Pause => "Pause Pipeline",
        }
    }
}
