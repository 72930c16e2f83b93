//! The codes the EnOS platform documents: one table of number, text, reason, retry class and what a person does.
//! Matched by number, never by text: the same code has different texts on different pages of the manual.

use stream_pipeline_api::Reason;

/// Where a code comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::EnumIter)]
pub enum Source {
    /// The streaming service, in `code`.
    Streaming,
    /// The token service, in `status`.
    Token,
    /// Sibling services; the gateway may answer with them too.
    Platform,
    /// The gateway's SDK scheme, in `apim_status` of an answer that looks successful.
    Gateway,
    /// An HTTP status of the gateway.
    Http,
}

/// What the operator does by itself after this code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
pub enum Retry {
    /// Nothing: the request ends, or is held for a person.
    No,
    /// The call is made again later, with growing delays.
    Later,
    /// The pipeline's state is read again first.
    AfterStatus,
    /// A new token is fetched and the call repeated once.
    NewToken,
}

/// Whether a call that was answered with this code may have been carried out all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// Refused before anything was done.
    No,
    /// The code leaves it open.
    Unknown,
}

/// One row.
#[derive(Clone, Copy, Debug)]
pub struct Code {
    pub number: i32,
    pub source: Source,
    /// The platform's text, as documented.
    pub text: &'static str,
    pub reason: Reason,
    pub retry: Retry,
    pub done: Done,
    /// What a person does.
    pub help: &'static str,
}

const fn row(number: i32, source: Source, text: &'static str, reason: Reason, retry: Retry, done: Done, help: &'static str) -> Code {
    Code { number, source, text, reason, retry, done, help }
}

use Done::{No as Undone, Unknown};
use Retry::{AfterStatus, Later, NewToken, No};
use Source::{Gateway, Http, Platform, Streaming, Token};

/// The code for a token call that repeats an earlier one; the call is made once more, with a new timestamp.
pub const REPEATED_REQUEST: i32 = 1001;

/// Every documented code.
#[rustfmt::skip] // One row, one line.
pub const CODES: [Code; 39] = [
    row(61100, Streaming, "The Stream configuration JSON is invalid.", Reason::StartConfigurationInvalid, Later, Undone, "Correct spec.enos.start (executionMode, kafkaRate, resourceConfig)."),
    row(61102, Streaming, "Missing param xx", Reason::RequestRejected, Later, Undone, "Check spec.enos.orgID and pipelineID."),
    row(61105, Streaming, "Too many points", Reason::RequestRejected, Later, Undone, "Stage State only, which the operator does not call. Report it."),
    row(61106, Streaming, "Wrong pipelineId or OU has no privilege", Reason::PermissionMissing, Later, Undone, "Check that the pipeline belongs to spec.enos.orgID and that the application may operate it."),
    row(61107, Streaming, "Not supported Stage Type", Reason::RequestRejected, Later, Undone, "Stage State only, which the operator does not call. Report it."),
    row(61108, Streaming, "Stream processing job does not exit.", Reason::PipelineNotFound, No, Undone, "The pipeline does not exist in this organization. Correct spec.enos in a new object."),
    row(61112, Streaming, "Failed to save the stream configuration.", Reason::PlatformError, Later, Unknown, "Save only, which the operator does not call. Report it."),
    row(61115, Streaming, "Failed to get stream processing jobs.", Reason::PlatformError, Later, Unknown, "It is tried again; if it stays, ask EnOS support."),
    row(61121, Streaming, "Another user in the organization is starting a stream processing job. Please try again later.", Reason::AnotherPipelineStarting, Later, Undone, "There is nothing to do: one pipeline of an organization starts at a time."),
    row(61122, Streaming, "Failed to stop the stream processing pipeline.", Reason::PlatformError, AfterStatus, Unknown, "Look at the pipeline in the console."),
    row(61128, Streaming, "Your organization has not requested XX processing resource.", Reason::ResourcesMissing, Later, Undone, "Request the resource in the console, or lower spec.enos.start.resourceConfig."),
    row(61152, Streaming, "Status of the stream processing job cannot be changed from [XX] to Paused.", Reason::StatusNotAllowed, AfterStatus, Undone, "There is nothing to do unless it stays; then look at the pipeline's state in the console."),
    row(61165, Streaming, "Stream processing job with status [XX] cannot be started.", Reason::StatusNotAllowed, AfterStatus, Undone, "There is nothing to do unless it stays; then look at the pipeline's state in the console."),
    row(61168, Streaming, "Failed to get the Kafka average rate.", Reason::AverageRateUnavailable, No, Unknown, "It does not say whether the position moved: the request is held. Look at the lag in the console; then onUnknownOutcome: Retry, a new id, or remove spec.offsetReset."),
    row(61169, Streaming, "Failed to release the stream processing pipeline because it is not stopped or paused.", Reason::StatusNotAllowed, AfterStatus, Undone, "Release only, which the operator does not call. Report it."),
    row(61176, Streaming, "Param must be positive.", Reason::RequestRejected, Later, Undone, "A fault of the operator's paging. Report it."),
    row(61199, Streaming, "(free text)", Reason::PlatformError, Later, Unknown, "See the text."),
    row(99000, Streaming, "Internal Server Error.", Reason::PlatformError, Later, Unknown, "It is tried again; if it stays, ask EnOS support."),
    row(REPEATED_REQUEST, Token, "repeated request", Reason::AuthenticationFailed, NewToken, Undone, "There is nothing to do: it is asked again with a new time stamp."),
    row(1002, Token, "appKey does not exist", Reason::AuthenticationFailed, Later, Undone, "Correct accessKey in the Secret."),
    row(1003, Token, "encryption is not valid", Reason::AuthenticationFailed, Later, Undone, "Correct secretKey in the Secret, and look at the operator's clock."),
    row(1004, Token, "invalid parameter", Reason::RequestRejected, Later, Undone, "Look for stray characters in the Secret's values. Report it if there are none."),
    row(1005, Token, "internal service exception", Reason::PlatformError, Later, Unknown, "It is tried again; if it stays, ask EnOS support."),
    row(1202, Token, "parameter is empty", Reason::AuthenticationFailed, NewToken, Undone, "Look whether a value in the Secret is empty."),
    row(1203, Token, "access token expired", Reason::AuthenticationFailed, NewToken, Undone, "There is nothing to do unless it stays: then another holder of the access key renews the token all the time."),
    row(1204, Token, "refresh failed", Reason::AuthenticationFailed, NewToken, Undone, "There is nothing to do: a new token is fetched."),
    row(4011, Gateway, "(short token expired)", Reason::AuthenticationFailed, NewToken, Undone, "There is nothing to do unless it stays; then check the Secret and the clock."),
    row(4012, Gateway, "(long token expired)", Reason::AuthenticationFailed, NewToken, Undone, "There is nothing to do unless it stays; then check the Secret and the clock."),
    row(99400, Platform, "invalid argument", Reason::RequestRejected, Later, Undone, "Check spec.enos.orgID and pipelineID."),
    row(99403, Platform, "Denied resource: orgId ...", Reason::PermissionMissing, Later, Undone, "Authorize the application for the organization's stream processing, or correct spec.enos.orgID in a new object."),
    row(99404, Platform, "not found", Reason::PipelineNotFound, No, Undone, "Check spec.enos.orgID and pipelineID."),
    row(99500, Platform, "internal error", Reason::PlatformError, Later, Unknown, "It is tried again; if it stays, ask EnOS support."),
    row(400, Http, "Cannot process request body", Reason::RequestRejected, Later, Undone, "Check spec.enos.endpoint and start; report it if they are right."),
    row(401, Http, "Invalid authentication credentials", Reason::AuthenticationFailed, NewToken, Undone, "Check the Secret, and that the application is on the API's Access Authorization tab."),
    row(403, Http, "Your IP address is not allowed", Reason::PermissionMissing, Later, Undone, "Let the cluster's outgoing address in at the gateway."),
    row(413, Http, "Request size limit exceeded", Reason::RequestRejected, Later, Undone, "Shorten spec.enos.start.resourceConfig."),
    row(429, Http, "API rate limit exceeded", Reason::RateLimited, Later, Undone, "The operator slows down by itself; have the API's rate limit raised if it stays."),
    row(500, Http, "An unexpected error occurred", Reason::PlatformError, Later, Unknown, "It is tried again; if it stays, ask EnOS support."),
    row(503, Http, "Service unavailable", Reason::PlatformError, Later, Unknown, "It is tried again; if it stays, ask EnOS support."),
];

impl Code {
    /// The key, the secret, the token or the clock is refused.
    pub fn refuses_credentials(&self) -> bool {
        self.source == Token && self.reason == Reason::AuthenticationFailed && self.number != REPEATED_REQUEST
    }

    /// The gateway knows the application, and it may not do this.
    pub fn denies_resource(&self) -> bool {
        self.source == Platform && self.reason == Reason::PermissionMissing
    }

    /// There is no such pipeline for this application.
    pub fn says_missing(&self) -> bool {
        self.reason == Reason::PipelineNotFound
    }
}

/// The row of a number, whichever part of the answer it came in; None: not documented.
pub fn find(number: i64) -> Option<&'static Code> {
    CODES.iter().find(|row| i64::from(row.number) == number)
}

/// The row of a code in the body of an answer; None: not documented.
pub fn of_body(code: i64) -> Option<&'static Code> {
    find(code).filter(|row| row.source != Http)
}

/// The row of an HTTP status; None: not documented.
pub fn of_status(http: u16) -> Option<&'static Code> {
    find(http.into()).filter(|row| row.source == Http)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No code uses the retry column: it tells people what follows from the other columns.
    #[test]
    fn what_a_row_says_of_trying_again_agrees_with_its_other_columns() {
        for row in &CODES {
            assert_eq!(row.retry == No, row.reason.is_terminal() || row.reason == Reason::AverageRateUnavailable, "{row:?}");
            assert!(row.retry != NewToken || row.reason == Reason::AuthenticationFailed, "{row:?}");
            assert!(row.reason != Reason::StatusNotAllowed || row.retry == AfterStatus, "{row:?}");
            assert!(
                row.done == Undone || matches!(row.retry, Later | AfterStatus | No),
                "what may have been done is not just repeated: {row:?}"
            );
        }
    }

    #[test]
    fn what_the_columns_say_of_each_code() {
        let all = |says: fn(&Code) -> bool| CODES.iter().filter(|row| says(row)).map(|row| row.number).collect::<Vec<_>>();
        assert_eq!(all(Code::refuses_credentials), [1002, 1003, 1202, 1203, 1204]);
        assert_eq!(all(Code::denies_resource), [99403]);
        assert_eq!(all(Code::says_missing), [61108, 99404]);
    }
}
