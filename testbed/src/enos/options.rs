//! How a simulated platform is set up: who may call it, and what it does where its manual is silent.

use std::time::Duration;

/// The organisation, access key and secret key of [`Options::default`]. The reference's made-up values: no secret.
pub const ORGANISATION: &str = "o15000000000001";
pub const ACCESS_KEY: &str = "11111111-2222-3333-4444-555555555555";
pub const SECRET_KEY: &str = "66666666-7777-8888-9999-aaaaaaaaaaaa";

#[derive(Clone, Debug)]
pub struct Options {
    pub tls: bool,
    pub certificate: Certificate,
    /// None: a free port.
    pub port: Option<u16>,
    /// The broker of the pipelines that are backed by a consumer group.
    pub bootstrap: Option<String>,
    pub organisations: Vec<Organisation>,
    pub applications: Vec<Application>,
    /// Takes `apim-accesstoken` alone, without a signature, as the vendor's SDK sends it; for every organisation.
    pub accept_sdk_header: bool,
    pub token_life: Duration,
    /// Whether a refresh ends the old token at once, also for its other holders.
    pub refresh_kills_old: bool,
    pub expired_token: ExpiredToken,
    pub clock_skew_limit: Duration,
    /// How long a start, a pause or a stop takes before the list shows the new state.
    pub transition: Duration,
    /// Whether `count` of the list is that of the page, or that of all pages.
    pub count_is_page: bool,
    /// A larger `pageSize` is cut to this.
    pub max_page_size: Option<usize>,
    /// `lag` and `offset` as strings, as documented; else as numbers, as in the sample.
    pub lag_as_strings: bool,
    /// `data` as a list of one, as documented; else as an object, as in the samples.
    pub data_as_list: bool,
    /// Orders the points of offset-lag against the clock.
    pub shuffle_lag: bool,
    /// How often offset-lag gets a new point; zero: at every question. A longer one lets it answer with points from
    /// before the last start.
    pub lag_sample: Duration,
    pub lag_when_not_running: NotRunning,
    pub reset_in_other_state: OtherState,
    /// The HTTP status beside a business code other than 0.
    pub business_errors_http: u16,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tls: false,
            certificate: Certificate::Good,
            port: None,
            bootstrap: None,
            organisations: vec![Organisation::new(ORGANISATION)],
            applications: vec![Application::new(ACCESS_KEY, SECRET_KEY, &[ORGANISATION])],
            accept_sdk_header: false,
            token_life: Duration::from_secs(7200),
            refresh_kills_old: false,
            expired_token: ExpiredToken::Http401,
            clock_skew_limit: Duration::from_secs(15 * 60),
            transition: Duration::ZERO,
            count_is_page: false,
            max_page_size: None,
            lag_as_strings: false,
            data_as_list: false,
            shuffle_lag: false,
            lag_sample: Duration::ZERO,
            lag_when_not_running: NotRunning::Code,
            reset_in_other_state: OtherState::Code(99000),
            business_errors_http: 200,
        }
    }
}

/// What the server shows. Only the first verifies under [`super::Simulator::ca_pem`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certificate {
    Good,
    WrongHost,
    Expired,
    UnknownCa,
}

#[derive(Clone, Debug)]
pub struct Organisation {
    pub id: String,
    /// Whether processing resources were granted to it; without, a start is refused with 61128.
    pub resources: bool,
}

impl Organisation {
    pub fn new(id: &str) -> Self {
        Self { id: id.to_owned(), resources: true }
    }
}

#[derive(Clone, Debug)]
pub struct Application {
    pub access_key: String,
    pub secret_key: String,
    /// Those it is authorised for.
    pub organisations: Vec<String>,
}

impl Application {
    pub fn new(access_key: &str, secret_key: &str, organisations: &[&str]) -> Self {
        let organisations = organisations.iter().map(|o| (*o).to_owned()).collect();
        Self { access_key: access_key.to_owned(), secret_key: secret_key.to_owned(), organisations }
    }
}

/// How a business call with an expired token is refused: not documented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpiredToken {
    Http401,
    Code1203,
    /// 4011 or 4012 in an answer with HTTP status 200.
    ApimStatus(i64),
}

/// What offset-lag of a pipeline that does not run says: not documented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotRunning {
    /// 99000.
    Code,
    /// Success without points.
    Empty,
}

/// What a reset that finds the pipeline neither paused nor stopped does: not documented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtherState {
    /// Nothing, and says this code.
    Code(i64),
    /// The reset.
    Apply,
}
