//! librdkafka's functions, including those that the binding declares wrongly, and its strings, arrays and lists. The other modules here use
//! no declarations but these.

use std::ffi::{CStr, CString, c_char, c_int, c_void};

pub(super) use rdkafka::bindings::*;

use crate::backend::kafka::admin::{AdminError, Rights};

// These shadow the binding's own declarations, which would turn an unknown number into an impossible enum value.
unsafe extern "C" {
    pub(super) fn pthread_setattr_default_np(attributes: *const libc::pthread_attr_t) -> c_int;
    /// From the OpenSSL that librdkafka is linked with.
    pub(super) fn X509_verify_cert_error_string(code: std::ffi::c_long) -> *const c_char;
    pub(super) fn rd_kafka_event_error(event: *mut rd_kafka_event_t) -> i32;
    pub(super) fn rd_kafka_error_code(error: *const rd_kafka_error_t) -> i32;
    pub(super) fn rd_kafka_ConsumerGroupDescription_state(g: *const Described) -> i32;
    pub(super) fn rd_kafka_ConsumerGroupDescription_authorized_operations(g: *const Described, count: *mut usize) -> *const i32;
    pub(super) fn rd_kafka_TopicDescription_authorized_operations(
        topic: *const rd_kafka_TopicDescription_t,
        count: *mut usize,
    ) -> *const i32;
    pub(super) fn rd_kafka_conf_set_resolve_cb(
        conf: *mut rd_kafka_conf_t,
        resolve: Option<
            unsafe extern "C" fn(*const c_char, *const c_char, *const libc::addrinfo, *mut *mut libc::addrinfo, *mut c_void) -> c_int,
        >,
    );
    pub(super) fn rd_kafka_list_groups(
        rk: *mut rd_kafka_t,
        group: *const c_char,
        list: *mut *const rd_kafka_group_list,
        timeout_ms: c_int,
    ) -> i32;
}

/// `rd_kafka_AclOperation_t`: what a commit needs on the group and on the topic, and what deleting one needs on the group.
const READ: i32 = 3;
const DELETE: i32 = 6;

pub(super) type Described = rd_kafka_ConsumerGroupDescription_t;
pub(super) type Element = rd_kafka_topic_partition_t;
pub(super) type List = rd_kafka_topic_partition_list_t;

/// Never null, with the function that frees it.
pub(super) struct Owned<T>(pub(super) *mut T, pub(super) unsafe extern "C" fn(*mut T));

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: ours, freed once and by its own function; calls copied what they need, and so did whoever read it.
        unsafe { (self.1)(self.0) };
    }
}

/// An empty list; `size` is only a hint.
pub(super) fn list_of(size: usize) -> Owned<List> {
    // SAFETY: any size is allowed, and the result is never null.
    Owned(unsafe { rd_kafka_topic_partition_list_new(c_int::try_from(size).unwrap_or(0)) }, rd_kafka_topic_partition_list_destroy)
}

/// The new element may be used until the next is added.
pub(super) fn add(list: &Owned<List>, call: &'static str, topic: &str, partition: i32, offset: i64) -> Result<*mut Element, AdminError> {
    let topic = cstring(call, topic)?;
    // SAFETY: the list is live, the name is copied, and the element is the list's own.
    unsafe {
        let element = rd_kafka_topic_partition_list_add(list.0, topic.as_ptr(), partition);
        (*element).offset = offset;
        Ok(element)
    }
}

/// # Safety
/// `string` is null or NUL-terminated and live.
pub(super) unsafe fn text(string: *const c_char) -> String {
    if string.is_null() {
        return String::new();
    }
    // SAFETY: as promised by the caller.
    unsafe { CStr::from_ptr(string) }.to_string_lossy().into_owned()
}

/// The array that `get` returns for `of`.
///
/// # Safety
/// `of` is live and `get` is librdkafka's accessor for it: it sets the count and returns that many pointers, or null, which
/// stay as long as `of`.
pub(super) unsafe fn array<R, T>(of: *const R, get: unsafe extern "C" fn(*const R, *mut usize) -> *mut *const T) -> Vec<*const T> {
    let mut count = 0;
    // SAFETY: as promised by the caller.
    unsafe {
        let first = get(of, &mut count);
        if first.is_null() { Vec::new() } else { std::slice::from_raw_parts(first, count).to_vec() }
    }
}

/// Which rights are among the operations that `get` returns for `of`; None where the broker does not say.
///
/// # Safety
/// As [`array()`], of numbers.
pub(super) unsafe fn rights<R>(of: *const R, get: unsafe extern "C" fn(*const R, *mut usize) -> *const i32) -> Option<Rights> {
    let mut count = 0;
    // SAFETY: as promised by the caller.
    let operations = unsafe {
        let first = get(of, &mut count);
        if first.is_null() { &[] } else { std::slice::from_raw_parts(first, count) }
    };
    (!operations.is_empty()).then(|| Rights { read: operations.contains(&READ), delete: operations.contains(&DELETE) })
}

pub fn argument(call: &'static str, reason: &str) -> AdminError {
    AdminError::Argument { call, reason: reason.to_owned() }
}

pub fn cstring(call: &'static str, value: &str) -> Result<CString, AdminError> {
    CString::new(value).map_err(|_| argument(call, "a NUL character in a name"))
}

#[cfg(test)]
mod tests {
    use std::ffi::c_char;

    use super::text;
    use crate::backend::kafka::codes::KafkaCode;

    unsafe extern "C" {
        fn rd_kafka_err2name(code: i32) -> *const c_char;
        fn rd_kafka_err2str(code: i32) -> *const c_char;
    }

    #[test]
    fn error_codes_are_named_as_librdkafka_names_them() {
        for code in -300..300 {
            // SAFETY: both take any number and return a static or thread-local NUL-terminated string, which is copied at once.
            let (name, what) = unsafe { (text(rd_kafka_err2name(code)), text(rd_kafka_err2str(code))) };
            // The binding also has numbers that mark the ends of the list; they are no error codes.
            if what.starts_with("Err-") && super::rd_kafka_resp_err_t::try_from(code).is_ok() {
                continue;
            }
            assert_eq!(KafkaCode(code).to_string(), format!("{code} ({name}: {what})"));
        }
    }
}
