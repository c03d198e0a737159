//! The plugin's store: values by key, each for a time.
//!
//! It belongs to the plugin and the host on one pod, is the same for all instances, survives another file of the plugin,
//! and is empty after a restart. It works in `connect`, `authorize` and `message`. A call elsewhere, a key that is not 1
//! to 128 bytes long, a value of more than 4 KiB, and a time that is not 1 ms to 24 h end the hook like a panic.
//!
//! In `cargo test`, the store is a map of the test's thread.

use std::convert::TryFrom;
use std::time::Duration;

/// What [`add`] returns if the store is full.
pub const FULL: i64 = i64::MAX;

/// The value of a key; `None` if there is none.
pub fn get(key: impl AsRef<[u8]>) -> Option<Vec<u8>> {
    let mut value = vec![0; 4 << 10];
    let length = import::get(key.as_ref(), &mut value);
    value.truncate(usize::try_from(length).ok()?);
    Some(value)
}

/// Stores a value for a time, and returns whether it could: if the store is full, the old value stays.
pub fn set(key: impl AsRef<[u8]>, value: &[u8], time: Duration) -> bool {
    let time = match milliseconds(time) {
        0 => -1, // refused; 0 would remove the value
        time => time,
    };
    import::set(key.as_ref(), value, time) == 0
}

/// Removes a value.
pub fn remove(key: impl AsRef<[u8]>) {
    import::set(key.as_ref(), b"", 0);
}

/// Adds to a counter and returns the sum. A counter that is not there begins at 0 and stays for the time; further calls
/// do not change its end. If the store is full, or the value is no counter, the sum is [`FULL`]: write a limit as
/// `add(...) > n`, and it holds.
pub fn add(key: impl AsRef<[u8]>, delta: i64, time: Duration) -> i64 {
    import::add(key.as_ref(), delta, milliseconds(time))
}

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(target_arch = "wasm32")]
mod import {
    mod raw {
        #[link(wasm_import_module = "rollcall")]
        extern "C" {
            pub fn kv_get(key: *const u8, key_len: usize, ptr: *mut u8, cap: usize) -> i64;
            pub fn kv_set(key: *const u8, key_len: usize, ptr: *const u8, len: usize, ttl_ms: i64) -> i32;
            pub fn kv_add(key: *const u8, key_len: usize, delta: i64, ttl_ms: i64) -> i64;
        }
    }

    pub fn get(key: &[u8], value: &mut [u8]) -> i64 {
        unsafe { raw::kv_get(key.as_ptr(), key.len(), value.as_mut_ptr(), value.len()) }
    }

    pub fn set(key: &[u8], value: &[u8], ttl: i64) -> i32 {
        unsafe { raw::kv_set(key.as_ptr(), key.len(), value.as_ptr(), value.len(), ttl) }
    }

    pub fn add(key: &[u8], delta: i64, ttl: i64) -> i64 {
        unsafe { raw::kv_add(key.as_ptr(), key.len(), delta, ttl) }
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod import {
    use std::cell::RefCell;
    use std::collections::HashMap;
    use std::convert::TryInto;
    use std::time::{Duration, Instant};

    const DAY: i64 = 86_400_000;

    thread_local! {
        static ENTRIES: RefCell<HashMap<Vec<u8>, (Vec<u8>, Instant)>> = RefCell::new(HashMap::new());
    }

    /// Calls `f` with the entries, without those that have expired.
    fn with<T>(key: &[u8], f: impl FnOnce(&mut HashMap<Vec<u8>, (Vec<u8>, Instant)>) -> T) -> T {
        assert!((1..=128).contains(&key.len()), "kv: a key has 1 to 128 bytes");
        ENTRIES.with(|entries| {
            let mut entries = entries.borrow_mut();
            let now = Instant::now();
            entries.retain(|_, (_, end)| now < *end);
            f(&mut entries)
        })
    }

    fn end(ttl: i64) -> Instant {
        assert!((1..=DAY).contains(&ttl), "kv: a value stays for 1 ms to 24 h");
        Instant::now() + Duration::from_millis(ttl as u64)
    }

    pub fn get(key: &[u8], value: &mut [u8]) -> i64 {
        with(key, |entries| match entries.get(key) {
            Some((found, _)) => {
                value[..found.len()].copy_from_slice(found);
                found.len() as i64
            }
            None => -1,
        })
    }

    pub fn set(key: &[u8], value: &[u8], ttl: i64) -> i32 {
        assert!(value.len() <= 4 << 10, "kv: a value has at most 4 KiB");
        with(key, |entries| match ttl {
            0 => entries.remove(key),
            _ => entries.insert(key.to_vec(), (value.to_vec(), end(ttl))),
        });
        0
    }

    pub fn add(key: &[u8], delta: i64, ttl: i64) -> i64 {
        let ends = end(ttl);
        with(key, |entries| {
            let entry = entries.entry(key.to_vec()).or_insert_with(|| (vec![0; 8], ends));
            let old: [u8; 8] = match entry.0.as_slice().try_into() {
                Ok(old) => old,
                Err(_) => return super::FULL,
            };
            let most = i64::MAX - 1;
            let sum = i64::from_le_bytes(old).saturating_add(delta).clamp(-most, most);
            entry.0 = sum.to_le_bytes().to_vec();
            sum
        })
    }
}
