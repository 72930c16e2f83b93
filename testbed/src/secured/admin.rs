//! The admin calls that the ordinary client has no functions for: SCRAM users and ACLs. In process, as Kafka's own tools take
//! a second or two a call.
#![deny(unsafe_op_in_unsafe_fn)]

use std::ffi::{CStr, CString, c_char};
use std::ptr::null;

use anyhow::{Context, Result, bail, ensure};
use rdkafka::bindings::*;
use rdkafka::consumer::{BaseConsumer, Consumer as _};

use super::acl::{Acl, Operation, Pattern, Resource};
use crate::kafka::client;

const LIMIT_MS: i32 = 20_000;
/// Kafka refuses fewer.
const ITERATIONS: i32 = 4096;

// These shadow the binding's own, which would turn a number it does not know into an impossible enum value.
unsafe extern "C" {
    fn rd_kafka_event_error(event: *mut rd_kafka_event_t) -> i32;
    fn rd_kafka_error_code(error: *const rd_kafka_error_t) -> i32;
    fn rd_kafka_AclBinding_restype(acl: *const rd_kafka_AclBinding_t) -> i32;
    fn rd_kafka_AclBinding_operation(acl: *const rd_kafka_AclBinding_t) -> i32;
    fn rd_kafka_AclBinding_permission_type(acl: *const rd_kafka_AclBinding_t) -> i32;
    fn rd_kafka_AclBinding_resource_pattern_type(acl: *const rd_kafka_AclBinding_t) -> i32;
}

/// Sets the password of a user, or removes the user, for both mechanisms.
pub(super) fn alter_scram(bootstrap: &str, user: &str, password: Option<&str>) -> Result<()> {
    use rd_kafka_ScramMechanism_t::{RD_KAFKA_SCRAM_MECHANISM_SHA_256, RD_KAFKA_SCRAM_MECHANISM_SHA_512};
    // One after the other: Kafka refuses to alter a user twice in one request.
    for mechanism in [RD_KAFKA_SCRAM_MECHANISM_SHA_256, RD_KAFKA_SCRAM_MECHANISM_SHA_512] {
        alter_scram_of(bootstrap, user, mechanism, password)?;
    }
    Ok(())
}

fn alter_scram_of(bootstrap: &str, user: &str, mechanism: rd_kafka_ScramMechanism_t, password: Option<&str>) -> Result<()> {
    let user = CString::new(user)?;
    let name = user.as_ptr();
    // SAFETY: the strings outlive the call, which copies them; librdkafka makes the salt.
    let alteration = unsafe {
        match password {
            Some(p) => rd_kafka_UserScramCredentialUpsertion_new(name, mechanism, ITERATIONS, p.as_ptr(), p.len(), null(), 0),
            None => rd_kafka_UserScramCredentialDeletion_new(name, mechanism),
        }
    };
    let mut alteration = Destroyed(vec![alteration], rd_kafka_UserScramCredentialAlteration_destroy);
    call(
        bootstrap,
        // SAFETY: what goes in is copied by the call; the event is live while it is read. The same for the calls below.
        |rk, queue| unsafe { rd_kafka_AlterUserScramCredentials(rk, alteration.0.as_mut_ptr(), 1, null(), queue) },
        |event| unsafe {
            let result = rd_kafka_event_AlterUserScramCredentials_result(event);
            ensure!(!result.is_null(), "an answer of another kind");
            let mut count = 0;
            let responses = rd_kafka_AlterUserScramCredentials_result_responses(result, &mut count);
            (0..count).try_for_each(|n| check(rd_kafka_AlterUserScramCredentials_result_response_error(*responses.add(n))))
        },
    )
}

pub(super) fn create_acls(bootstrap: &str, acls: &[Acl]) -> Result<()> {
    let bindings = acls.iter().map(|acl| binding(acl, rd_kafka_AclBinding_new)).collect::<Result<_>>()?;
    let mut bindings = Destroyed(bindings, rd_kafka_AclBinding_destroy);
    call(
        bootstrap,
        |rk, queue| unsafe { rd_kafka_CreateAcls(rk, bindings.0.as_mut_ptr(), bindings.0.len(), null(), queue) },
        |event| unsafe {
            let result = rd_kafka_event_CreateAcls_result(event);
            ensure!(!result.is_null(), "an answer of another kind");
            let mut count = 0;
            let results = rd_kafka_CreateAcls_result_acls(result, &mut count);
            (0..count).try_for_each(|n| check(rd_kafka_acl_result_error(*results.add(n))))
        },
    )
}

pub(super) fn delete_acls(bootstrap: &str, acls: &[Acl]) -> Result<()> {
    let filters = acls.iter().map(|acl| binding(acl, rd_kafka_AclBindingFilter_new)).collect::<Result<_>>()?;
    let mut filters = Destroyed(filters, rd_kafka_AclBinding_destroy);
    call(
        bootstrap,
        |rk, queue| unsafe { rd_kafka_DeleteAcls(rk, filters.0.as_mut_ptr(), filters.0.len(), null(), queue) },
        |event| unsafe {
            let result = rd_kafka_event_DeleteAcls_result(event);
            ensure!(!result.is_null(), "an answer of another kind");
            let mut count = 0;
            let responses = rd_kafka_DeleteAcls_result_responses(result, &mut count);
            (0..count).try_for_each(|n| check(rd_kafka_DeleteAcls_result_response_error(*responses.add(n))))
        },
    )
}

/// All of them.
pub(super) fn describe_acls(bootstrap: &str) -> Result<Vec<Acl>> {
    let mut why = [0 as c_char; 256];
    // SAFETY: `why` is as long as said; nulls mean any.
    let filter = unsafe {
        rd_kafka_AclBindingFilter_new(
            rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_ANY,
            null(),
            rd_kafka_ResourcePatternType_t::RD_KAFKA_RESOURCE_PATTERN_ANY,
            null(),
            null(),
            rd_kafka_AclOperation_t::RD_KAFKA_ACL_OPERATION_ANY,
            rd_kafka_AclPermissionType_t::RD_KAFKA_ACL_PERMISSION_TYPE_ANY,
            why.as_mut_ptr(),
            why.len(),
        )
    };
    let filter = Destroyed(vec![filter], rd_kafka_AclBinding_destroy);
    call(
        bootstrap,
        |rk, queue| unsafe { rd_kafka_DescribeAcls(rk, filter.0[0], null(), queue) },
        |event| unsafe {
            let result = rd_kafka_event_DescribeAcls_result(event);
            ensure!(!result.is_null(), "an answer of another kind");
            let mut count = 0;
            let acls = rd_kafka_DescribeAcls_result_acls(result, &mut count);
            (0..count).map(|n| read(*acls.add(n))).collect()
        },
    )
}

/// # Safety
/// The binding is live.
unsafe fn read(acl: *const rd_kafka_AclBinding_t) -> Result<Acl> {
    // SAFETY: the strings live as long as the binding and are copied.
    unsafe {
        Ok(Acl {
            principal: text(rd_kafka_AclBinding_principal(acl)),
            operation: Operation::of(rd_kafka_AclBinding_operation(acl)).context("an unknown operation")?,
            resource: Resource::of(rd_kafka_AclBinding_restype(acl)).context("an unknown resource")?,
            name: text(rd_kafka_AclBinding_name(acl)),
            pattern: Pattern::of(rd_kafka_AclBinding_resource_pattern_type(acl)).context("an unknown pattern")?,
            allow: rd_kafka_AclBinding_permission_type(acl) == rd_kafka_AclPermissionType_t::RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW as i32,
        })
    }
}

type Make = unsafe extern "C" fn(
    rd_kafka_ResourceType_t,
    *const c_char,
    rd_kafka_ResourcePatternType_t,
    *const c_char,
    *const c_char,
    rd_kafka_AclOperation_t,
    rd_kafka_AclPermissionType_t,
    *mut c_char,
    usize,
) -> *mut rd_kafka_AclBinding_t;

fn binding(acl: &Acl, make: Make) -> Result<*mut rd_kafka_AclBinding_t> {
    let (name, principal) = (CString::new(acl.name.as_str())?, CString::new(acl.principal.as_str())?);
    let permission = match acl.allow {
        true => rd_kafka_AclPermissionType_t::RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW,
        false => rd_kafka_AclPermissionType_t::RD_KAFKA_ACL_PERMISSION_TYPE_DENY,
    };
    let mut why = [0 as c_char; 256];
    // SAFETY: the strings are copied; `why` is as long as said and terminated by librdkafka.
    unsafe {
        let made = make(
            acl.resource.rd(),
            name.as_ptr(),
            acl.pattern.rd(),
            principal.as_ptr(),
            c"*".as_ptr(),
            acl.operation.rd(),
            permission,
            why.as_mut_ptr(),
            why.len(),
        );
        ensure!(!made.is_null(), "{acl:?}: {}", text(why.as_ptr()));
        Ok(made)
    }
}

/// Calls, and reads the answer.
fn call<T>(
    bootstrap: &str,
    send: impl FnOnce(*mut rd_kafka_t, *mut rd_kafka_queue_t),
    answer: impl FnOnce(*mut rd_kafka_event_t) -> Result<T>,
) -> Result<T> {
    let consumer: BaseConsumer = client(bootstrap).create()?;
    let rk = consumer.client().native_ptr();
    // SAFETY: the client outlives the queue; the queue and the event are destroyed once, after their last use.
    unsafe {
        let queue = rd_kafka_queue_new(rk);
        send(rk, queue);
        let event = rd_kafka_queue_poll(queue, LIMIT_MS);
        let result = if event.is_null() {
            Err(anyhow::anyhow!("no answer from the broker within {LIMIT_MS} ms"))
        } else if rd_kafka_event_error(event) != 0 {
            Err(anyhow::anyhow!("{}", text(rd_kafka_event_error_string(event))))
        } else {
            answer(event)
        };
        if !event.is_null() {
            rd_kafka_event_destroy(event);
        }
        rd_kafka_queue_destroy(queue);
        result
    }
}

/// # Safety
/// Null, or a live error.
unsafe fn check(error: *const rd_kafka_error_t) -> Result<()> {
    // SAFETY: both functions take null for success.
    unsafe {
        if rd_kafka_error_code(error) != 0 {
            bail!("{}", text(rd_kafka_error_string(error)));
        }
    }
    Ok(())
}

/// # Safety
/// Null, or NUL-terminated.
unsafe fn text(from: *const c_char) -> String {
    // SAFETY: as the caller says.
    if from.is_null() { String::new() } else { unsafe { CStr::from_ptr(from) }.to_string_lossy().into_owned() }
}

/// Objects of librdkafka that are destroyed with their owner.
struct Destroyed<T>(Vec<*mut T>, unsafe extern "C" fn(*mut T));

impl<T> Drop for Destroyed<T> {
    fn drop(&mut self) {
        // SAFETY: each was made by the constructor that belongs to this destructor, and nobody else destroys it.
        self.0.iter().filter(|p| !p.is_null()).for_each(|p| unsafe { (self.1)(*p) });
    }
}
