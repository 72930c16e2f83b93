//! What can go wrong with a call over HTTP, in the connection or in the answer.

use strum::IntoStaticStr;

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr)]
pub enum FailureKind {
    /// The endpoint is no http(s) URL of just a host, port and path.
    BadEndpoint,
    /// `http://`, and the operator does not allow it.
    PlainHttpNotAllowed,
    /// The CA is no PEM certificate, or the system has none.
    BadCa,
    /// An empty key or secret.
    BadCredentials,
    /// An organization or pipeline id that cannot be one.
    BadArgument,
    /// The policy forbids the host, or the address it resolves to.
    EndpointNotAllowed,
    /// `not_after` passed before the request could be handed over.
    WindowPassed,
    /// No free place within the deadline: too many calls of this client or endpoint.
    Busy,
    /// The gateway asked for fewer calls (429, Retry-After), now or a moment ago.
    RateLimited,
    /// The host name does not resolve.
    Dns,
    /// No connection.
    Connect,
    /// The certificate does not verify, or no TLS at all.
    Tls,
    /// No complete answer within the deadline.
    Timeout,
    /// The connection ended, or was no HTTP, before the answer was complete.
    ConnectionLost,
    /// The answer is larger than the client reads.
    TooLarge,
    /// The answer is not a JSON object.
    NotJson,
    /// JSON, and not of the documented or any similar shape.
    BadAnswer,
    /// A redirect; it is never followed.
    Redirected,
    /// The key, the secret, the token or the clock was refused.
    Unauthorized,
    /// Authenticated, but not permitted.
    Forbidden,
    /// Another HTTP status than 200, without a code.
    Http,
    /// The platform's own code other than 0.
    Platform,
    /// The list does not end.
    TooManyPages,
    /// The task that read the list ended early.
    Interrupted,
}

impl FailureKind {
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}
