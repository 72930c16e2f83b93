//! What an answer means for the effect of a call: the only place that tells "refused" from "may have been carried out". It does no I/O. The
//! codes and their meaning are in the table of `codes`. An undocumented answer leaves open whether the call was carried out.

use super::codes::{self, Code, Done, Source};
use super::failure::{Effect, FailureKind};

/// The effect of a call that was answered with this row.
fn effect(row: &Code) -> Effect {
    match row.done {
        Done::No => Effect::Refused,
        Done::Unknown => Effect::Unknown,
    }
}

/// Judges an answer: None is success. `code` and `apim_status` as found in the body, None where they are missing.
pub fn judge(http: u16, code: Option<i64>, apim_status: Option<i64>) -> Option<(FailureKind, Effect)> {
    let success = (200..300).contains(&http);
    match code {
        Some(0) if success => None,
        // A success code with an error status is a contradiction.
        Some(0) => Some((http_kind(http), Effect::Unknown)),
        Some(code) => Some(match codes::of_body(code) {
            Some(row) => (kind(row), effect(row)),
            None if matches!(http, 401 | 403 | 429) => (http_kind(http), Effect::Refused),
            // Only the gateway answers with these statuses. With other statuses an unknown code may be the platform's.
            None if matches!(http, 405 | 413) => (FailureKind::Platform, Effect::Refused),
            None => (FailureKind::Platform, Effect::Unknown),
        }),
        // The gateway of the other SDK refuses like this, with a successful HTTP status.
        None if apim_status.and_then(codes::find).is_some_and(|row| row.source == Source::Gateway) && (success || http == 401) => {
            Some((FailureKind::Unauthorized, Effect::Refused))
        }
        None if success => Some((FailureKind::BadAnswer, Effect::Unknown)),
        None => Some((http_kind(http), http_effect(http))),
    }
}

/// The effect of an HTTP status that came without a code.
fn http_effect(http: u16) -> Effect {
    match codes::of_status(http) {
        Some(row) => effect(row),
        // No service is there that could carry it out.
        None if matches!(http, 404 | 405) => Effect::Refused,
        None => Effect::Unknown,
    }
}

fn http_kind(http: u16) -> FailureKind {
    match http {
        300..=399 => FailureKind::Redirected,
        401 => FailureKind::Unauthorized,
        403 => FailureKind::Forbidden,
        429 => FailureKind::RateLimited,
        _ => FailureKind::Http,
    }
}

fn kind(row: &Code) -> FailureKind {
    match row {
        row if row.refuses_credentials() => FailureKind::Unauthorized,
        row if row.denies_resource() => FailureKind::Forbidden,
        _ => FailureKind::Platform,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_effect_of_every_listed_code() {
        for code in [
            1001, 1002, 1003, 1004, 1202, 1203, 1204, 61100, 61102, 61105, 61106, 61107, 61108, 61121, 61128, 61152, 61165, 61169, 61176,
            99400, 99403, 99404,
        ] {
            assert_eq!(judge(200, Some(code), None).map(|(_, effect)| effect), Some(Effect::Refused), "{code}");
        }
        for code in [1005, 61112, 61115, 61122, 61168, 61199, 99000, 99500, 1, -1, 61109, 61170, 99999, i64::MAX, i64::MIN] {
            assert_eq!(judge(200, Some(code), None).map(|(_, effect)| effect), Some(Effect::Unknown), "{code}");
        }
    }

    #[test]
    fn answers_are_judged_by_their_code_first() {
        use Effect::*;
        use FailureKind::*;
        for (http, code, apim, expected) in [
            (200, Some(0), None, None),
            (200, Some(0), Some(4011), None),
            (200, Some(61108), None, Some((Platform, Refused))),
            (500, Some(61108), None, Some((Platform, Refused))),
            (400, Some(61168), None, Some((Platform, Unknown))),
            (400, Some(77), None, Some((Platform, Unknown))),
            (401, Some(77), None, Some((Unauthorized, Refused))),
            (401, Some(99000), None, Some((Platform, Unknown))),
            (200, Some(1203), None, Some((Unauthorized, Refused))),
            (200, Some(77), Some(4011), Some((Platform, Unknown))),
            (200, None, Some(4011), Some((Unauthorized, Refused))),
            (200, None, Some(4012), Some((Unauthorized, Refused))),
            (200, None, Some(4013), Some((BadAnswer, Unknown))),
            (200, None, None, Some((BadAnswer, Unknown))),
            (200, Some(99403), None, Some((Forbidden, Refused))),
            (500, Some(0), None, Some((Http, Unknown))),
            (401, Some(0), None, Some((Unauthorized, Unknown))),
            (307, None, None, Some((Redirected, Unknown))),
        ] {
            assert_eq!(judge(http, code, apim), expected, "{http} {code:?} {apim:?}");
        }
    }

    #[test]
    fn statuses_without_a_code() {
        for http in [400, 401, 403, 404, 405, 413, 429] {
            assert_eq!(http_effect(http), Effect::Refused, "{http}");
        }
        for http in [201, 301, 302, 307, 308, 402, 406, 408, 409, 425, 499, 500, 502, 503, 504, 599] {
            assert_eq!(http_effect(http), Effect::Unknown, "{http}");
        }
    }
}
