//! The border to the host. [`plugin!`](crate::plugin) exports these functions; plugins do not call them.

use std::cell::UnsafeCell;
use std::fmt::Display;
use std::panic;
use std::ptr;
use std::slice;

use crate::{batch, Access, Answer, Config, Decision, Entry, Json, Level, Login, Member, Message, Request, Verdict};

/// A global of a module that has one thread and is never entered twice: the host makes one call at
/// a time, and nothing that the plugin calls calls back.
pub struct Global<T>(UnsafeCell<T>);

unsafe impl<T> Sync for Global<T> {}

impl<T> Global<T> {
    pub const fn new(value: T) -> Global<T> {
        Global(UnsafeCell::new(value))
    }

    /// # Safety
    /// No other reference to the value may be in use.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn get(&self) -> &mut T {
        &mut *self.0.get()
    }
}

/// The buffer that the host writes to. It keeps the address, so only `buffer` changes it. Words align it to 8 bytes.
static INPUT: Global<Vec<u64>> = Global::new(Vec::new());

/// The result of the last call; the host has copied it before the next call.
static OUTPUT: Global<Vec<u8>> = Global::new(Vec::new());

/// `_initialize`: after it, a panic writes a line to the log before it traps.
pub fn initialize() {
    panic::set_hook(Box::new(|info| crate::log(Level::Error, &info.to_string())));
}

/// `rollcall_buffer`
pub fn buffer(size: usize) -> *mut u8 {
    let input = unsafe { INPUT.get() };
    let words = size / 8 + 1;
    if words > input.len() {
        *input = Vec::new(); // the old content is not needed
        if input.try_reserve_exact(words).is_err() {
            return ptr::null_mut();
        }
        input.resize(words, 0);
    }
    input.as_mut_ptr().cast()
}

/// The bytes that the host wrote for a call.
///
/// # Safety
/// They must be in the buffer, and the result must not outlive the call.
unsafe fn input<'a>(ptr: *const u8, len: usize) -> &'a [u8] {
    slice::from_raw_parts(ptr, len)
}

/// The slice result of a call: address and length of the bytes in OUTPUT.
fn output(bytes: &[u8]) -> u64 {
    (bytes.as_ptr() as usize as u64) << 32 | bytes.len() as u64
}

/// `rollcall_configure`
///
/// # Safety
/// As `input`.
pub unsafe fn configure<S, E: Display>(
    ptr: *const u8,
    len: usize,
    make: impl Fn(&Config) -> Result<S, E>,
    keep: impl Fn(S),
) -> i32 {
    let made = match Config::parse(input(ptr, len)) {
        Ok(config) => make(&config).map_err(|err| err.to_string()),
        Err(err) => Err(err.to_string()),
    };
    match made {
        Ok(state) => {
            keep(state);
            0
        }
        Err(reason) => {
            crate::log(Level::Error, &reason);
            1
        }
    }
}

/// `rollcall_classify`
///
/// # Safety
/// As `input`.
#[inline(always)]
pub unsafe fn classify(ptr: *const u8, len: usize, hook: impl Fn(&Request) -> Decision) -> u64 {
    hook(&request(input(ptr, len))).bits()
}

/// `rollcall_authorize`
///
/// # Safety
/// As `input`.
#[inline(always)]
pub unsafe fn authorize(ptr: *const u8, len: usize, hook: impl Fn(&Request) -> Access) -> u64 {
    match hook(&request(input(ptr, len))) {
        Access::NoObjection => 0,
        Access::Denied => 1,
    }
}

#[inline(always)]
fn request(bytes: &[u8]) -> Request {
    match Request::decode(bytes) {
        Ok(request) => request,
        Err(reason) => refuse(&reason),
    }
}

/// Ends a call whose input violates the contract. It is neither generic nor inlined: a panic in
/// such a function would contain the absolute path of this file at build time.
#[cold]
#[inline(never)]
fn refuse(reason: &dyn Display) -> ! {
    panic!("{}", reason)
}

/// `rollcall_connect`
///
/// # Safety
/// As `input`.
pub unsafe fn connect(ptr: *const u8, len: usize, hook: impl Fn(&Login) -> Entry) -> u64 {
    let entry = match Login::parse(input(ptr, len)) {
        Ok(login) => hook(&login),
        Err(reason) => refuse(&reason),
    };
    match entry.json() {
        Some(json) => written(&json),
        None => entry.is_refused().into(),
    }
}

/// `rollcall_message`
///
/// # Safety
/// As `input`.
pub unsafe fn message(ptr: *const u8, len: usize, hook: impl Fn(&Message) -> Verdict) -> u64 {
    let verdict = match Message::decode(input(ptr, len)) {
        Ok(message) => hook(&message),
        Err(reason) => refuse(&reason),
    };
    match verdict {
        Verdict::Send => 0,
        Verdict::Refuse => 1,
        Verdict::Replace(json) => written(&json),
    }
}

/// The slice result of a call that answers with a value.
unsafe fn written(json: &Json) -> u64 {
    let out = OUTPUT.get();
    out.clear();
    json.write(out);
    output(out)
}

/// `rollcall_members`
///
/// # Safety
/// As `input`.
pub unsafe fn members(endpoint: i32, ptr: *const u8, len: usize, hook: impl Fn(&mut Member)) -> u64 {
    let out = OUTPUT.get();
    match batch::rewrite(input(ptr, len), endpoint.into(), out, hook) {
        Ok(true) => output(out),
        Ok(false) => 0,
        Err(reason) => refuse(&reason),
    }
}

/// `rollcall_shape`
///
/// # Safety
/// As `input`.
pub unsafe fn shape(endpoint: i32, ptr: *const u8, len: usize, hook: impl Fn(&Answer) -> Option<Json>) -> u64 {
    match hook(&Answer::new(endpoint.into(), input(ptr, len))) {
        Some(json) => written(&json),
        None => 0,
    }
}
