//! The border to the host. [`plugin!`](crate::plugin) exports these functions; plugins do not call them.

use std::cell::UnsafeCell;
use std::fmt::Display;
use std::panic;
use std::ptr;
use std::slice;

use crate::{batch, Access, Answer, Config, Decision, Json, Level, Member, Request};

/// A global of a module that has one thread, which is never entered twice: the host makes one call at a time, and
/// nothing that the plugin calls calls back.
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

/// Where the host writes. The host keeps the address, so it changes in `buffer` only. Words make it 8-aligned.
static INPUT: Global<Vec<u64>> = Global::new(Vec::new());

/// What the last call returned; the host has copied it when the next call comes.
static OUTPUT: Global<Vec<u8>> = Global::new(Vec::new());

/// `_initialize`: from here on a panic is a line in the log before it is a trap.
pub fn initialize() {
    panic::set_hook(Box::new(|info| crate::log(Level::Error, &info.to_string())));
}

/// `rollcall_buffer`
pub fn buffer(size: usize) -> *mut u8 {
    let input = unsafe { INPUT.get() };
    let words = size / 8 + 1;
    if words > input.len() {
        *input = Vec::new(); // nothing of the old content is needed
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

/// The slice result of a call: address and length of what is in OUTPUT.
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

/// Ends a call whose input is not what the contract says. It is no generic function and not inlined: the place of a panic
/// in one is the absolute path of this file, where the plugin was built.
#[cold]
#[inline(never)]
fn refuse(reason: &dyn Display) -> ! {
    panic!("{}", reason)
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
        Some(json) => {
            let out = OUTPUT.get();
            out.clear();
            json.write(out);
            output(out)
        }
        None => 0,
    }
}
