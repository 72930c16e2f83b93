//! What OpenSSL thinks of the certificates of a broker. librdkafka's error is the same whatever is wrong with one; only
//! its callback is told more.
#![deny(unsafe_op_in_unsafe_fn)]

use std::ffi::{CStr, c_char, c_int, c_long, c_void};
use std::slice;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use parking_lot::Mutex;
use rdkafka::bindings::*;
use rdkafka::config::ClientConfig;

unsafe extern "C" {
    /// Of the OpenSSL that librdkafka was built with.
    fn X509_verify_cert_error_string(code: c_long) -> *const c_char;
}

/// Of one certificate of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// 0 is the broker's own.
    pub depth: i32,
    /// OpenSSL's `X509_V_ERR_…`; 0 when it is good.
    pub code: i32,
    pub text: String,
    /// The certificate.
    pub der: Vec<u8>,
}

type Seen = Mutex<Vec<Verdict>>;

/// Those of the first handshake of a client of these settings.
pub fn verdicts(config: &ClientConfig, limit: Duration) -> Result<Vec<Verdict>> {
    let seen = Seen::default();
    // What it logs would go to standard error.
    let native = config.clone().set("log_level", "0").create_native_config()?;
    let mut why = [0 as c_char; 512];
    // SAFETY: the copy of the configuration is the client's once it is made; `seen` outlives the client, which is destroyed here and has no
    // thread left then; `why` is as long as said and terminated by librdkafka.
    unsafe {
        let conf = rd_kafka_conf_dup(native.ptr());
        rd_kafka_conf_set_opaque(conf, (&raw const seen).cast_mut().cast());
        rd_kafka_conf_set_ssl_cert_verify_cb(conf, Some(judge));
        let rk = rd_kafka_new(rd_kafka_type_t::RD_KAFKA_CONSUMER, conf, why.as_mut_ptr(), why.len());
        if rk.is_null() {
            rd_kafka_conf_destroy(conf);
        }
        ensure!(!rk.is_null(), "{}", CStr::from_ptr(why.as_ptr()).to_string_lossy());
        let begun = Instant::now();
        while begun.elapsed() < limit && !finished(&seen) {
            std::thread::sleep(Duration::from_millis(5));
        }
        rd_kafka_destroy(rk);
    }
    let mut seen = seen.into_inner();
    if let Some(end) = seen.iter().position(|v| v.depth == 0) {
        seen.truncate(end + 1);
    }
    Ok(seen)
}

fn finished(seen: &Seen) -> bool {
    seen.lock().iter().any(|v| v.depth == 0 || v.code != 0)
}

/// Notes OpenSSL's verdict and leaves it as it is.
unsafe extern "C" fn judge(
    _: *mut rd_kafka_t,
    _: *const c_char,
    _: i32,
    code: *mut c_int,
    depth: c_int,
    der: *const c_char,
    size: usize,
    why: *mut c_char,
    room: usize,
    opaque: *mut c_void,
) -> c_int {
    // SAFETY: librdkafka's pointers are live for the call, `opaque` is what was set; the string is a static of OpenSSL's.
    unsafe {
        let text = CStr::from_ptr(X509_verify_cert_error_string((*code).into()));
        let der = slice::from_raw_parts(der.cast(), size).to_vec();
        let verdict = Verdict { depth, code: *code, text: text.to_string_lossy().into_owned(), der };
        (*opaque.cast::<Seen>()).lock().push(verdict);
        if *code == 0 {
            return 1;
        }
        // librdkafka logs it.
        let text = &text.to_bytes_with_nul()[..text.to_bytes_with_nul().len().min(room)];
        text.as_ptr().copy_to_nonoverlapping(why.cast(), text.len());
        if let Some(last) = text.len().checked_sub(1) {
            *why.add(last) = 0;
        }
        0
    }
}
