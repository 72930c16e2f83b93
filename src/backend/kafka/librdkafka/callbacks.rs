//! What librdkafka calls from its own threads: whether it may connect, where a host is, what is wrong with a certificate.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::net::{IpAddr, SocketAddr};
use std::ptr::{self, null_mut};

use super::ffi::*;

pub type Wake = Box<dyn Fn() + Send + Sync>;
/// Returns the addresses of a host, with the port; None: it has none.
pub type Resolve = Box<dyn Fn(&str, u16) -> Option<Vec<SocketAddr>> + Send + Sync>;
/// Whether this host, at this address, may be connected to.
pub type ConnectFilter = Box<dyn Fn(&str, SocketAddr) -> bool + Send + Sync>;
/// A broker (host:port) has said that it throttles this client.
pub type Throttled = Box<dyn Fn(&str) + Send + Sync>;

/// What librdkafka asks and reports from its own threads.
pub struct Callbacks {
    /// Asked before each connection, with an address that `resolve` gave.
    pub may_connect: ConnectFilter,
    pub resolve: Resolve,
    pub throttled: Throttled,
}

/// Connects a non-blocking socket of librdkafka's, if the filter permits it. Returns 0 also while the connection is still being made.
pub(super) unsafe extern "C" fn connect_if_permitted(
    socket: c_int,
    to: *const libc::sockaddr,
    length: c_int,
    node: *const c_char,
    callbacks: *mut c_void,
) -> c_int {
    // SAFETY: `to` is a socket address of the family it names and as long as said; `node` is NUL-terminated or null; `callbacks` is
    // never freed.
    unsafe {
        let callbacks = &*callbacks.cast::<Callbacks>();
        let address = match c_int::from((*to).sa_family) {
            libc::AF_INET => {
                let to = &*to.cast::<libc::sockaddr_in>();
                SocketAddr::new(IpAddr::V4(u32::from_be(to.sin_addr.s_addr).into()), u16::from_be(to.sin_port))
            }
            libc::AF_INET6 => {
                let to = &*to.cast::<libc::sockaddr_in6>();
                SocketAddr::new(IpAddr::V6(to.sin6_addr.s6_addr.into()), u16::from_be(to.sin6_port))
            }
            _ => return libc::EAFNOSUPPORT,
        };
        let node = text(node);
        let host = node.rsplit_once(':').map_or(node.as_str(), |(host, _)| host);
        if !(callbacks.may_connect)(host, address) {
            return libc::EACCES;
        }
        match libc::connect(socket, to.cast(), length as libc::socklen_t) {
            0 => 0,
            _ => match *libc::__errno_location() {
                libc::EINPROGRESS => 0,
                errno => errno,
            },
        }
    }
}

/// Resolves a name; without a name, frees the result of an earlier call.
pub(super) unsafe extern "C" fn resolve_name(
    node: *const c_char,
    service: *const c_char,
    _: *const libc::addrinfo,
    found: *mut *mut libc::addrinfo,
    callbacks: *mut c_void,
) -> c_int {
    // SAFETY: `node` and `service` are NUL-terminated or null; `found` may be written to, and where `node` is null holds what this
    // function put there, which librdkafka copied; `callbacks` is never freed. Each list is freed once, from the boxes
    // that it was made of.
    unsafe {
        if node.is_null() {
            let mut next = *found;
            while !next.is_null() {
                let info = Box::from_raw(next);
                drop(Box::from_raw(info.ai_addr.cast::<libc::sockaddr_storage>()));
                next = info.ai_next;
            }
            return 0;
        }
        let callbacks = &*callbacks.cast::<Callbacks>();
        let Some(addresses) = (callbacks.resolve)(&text(node), text(service).parse().unwrap_or(9092)) else { return libc::EAI_NONAME };
        let mut first = null_mut();
        for address in addresses.into_iter().rev() {
            let mut storage: Box<libc::sockaddr_storage> = Box::new(std::mem::zeroed());
            let (family, length) = match address {
                SocketAddr::V4(v4) => {
                    let to = (&raw mut *storage).cast::<libc::sockaddr_in>();
                    (*to).sin_family = libc::AF_INET as libc::sa_family_t;
                    (*to).sin_port = v4.port().to_be();
                    (*to).sin_addr.s_addr = u32::from(*v4.ip()).to_be();
                    (libc::AF_INET, size_of::<libc::sockaddr_in>())
                }
                SocketAddr::V6(v6) => {
                    let to = (&raw mut *storage).cast::<libc::sockaddr_in6>();
                    (*to).sin6_family = libc::AF_INET6 as libc::sa_family_t;
                    (*to).sin6_port = v6.port().to_be();
                    (*to).sin6_addr.s6_addr = v6.ip().octets();
                    (*to).sin6_scope_id = v6.scope_id();
                    (libc::AF_INET6, size_of::<libc::sockaddr_in6>())
                }
            };
            let mut info: Box<libc::addrinfo> = Box::new(std::mem::zeroed());
            (info.ai_family, info.ai_socktype) = (family, libc::SOCK_STREAM);
            info.ai_addrlen = length as libc::socklen_t;
            info.ai_addr = Box::into_raw(storage).cast();
            info.ai_next = first;
            first = Box::into_raw(info);
        }
        *found = first;
        0
    }
}

/// 0 ms means that the throttling has ended.
pub(super) unsafe extern "C" fn note_throttling(_: *mut rd_kafka_t, broker: *const c_char, _: i32, ms: c_int, callbacks: *mut c_void) {
    // SAFETY: `broker` is NUL-terminated or null; `callbacks` is never freed.
    unsafe {
        if ms > 0 {
            ((*callbacks.cast::<Callbacks>()).throttled)(&text(broker));
        }
    }
}

/// Leaves OpenSSL's verdict on a certificate as it is, and puts it into words: librdkafka's own are the same for every fault.
pub(super) unsafe extern "C" fn name_the_fault(
    _: *mut rd_kafka_t,
    _: *const c_char,
    _: i32,
    code: *mut c_int,
    _: c_int,
    _: *const c_char,
    _: usize,
    why: *mut c_char,
    room: usize,
    _: *mut c_void,
) -> c_int {
    // SAFETY: librdkafka's pointers are live for the call and `why` has `room` bytes, at least one; OpenSSL's string is static. What
    // is written ends with a NUL inside of the room.
    unsafe {
        if *code == 0 {
            return 1;
        }
        let words = CStr::from_ptr(X509_verify_cert_error_string((*code).into())).to_bytes();
        let length = words.len().min(room.saturating_sub(1));
        ptr::copy_nonoverlapping(words.as_ptr().cast(), why, length);
        *why.add(length) = 0;
        0
    }
}

/// librdkafka calls this, under the queue's lock, when the queue stops being empty.
pub(super) unsafe extern "C" fn wake_up(_: *mut rd_kafka_t, waker: *mut c_void) {
    // SAFETY: `waker` is never freed; a Wake may be shared between threads.
    unsafe { (*waker.cast::<Wake>())() };
}
