//! The functions that the host provides: module `rollcall` of the contract.

/// The severity of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Shown only when Caddy logs at its debug level.
    Debug,
    /// Worth knowing.
    Info,
    /// Something is wrong, and the plugin continues.
    Warn,
    /// The plugin cannot do its work.
    Error,
}

/// Writes a line to Caddy's log, with the names of the plugin and the host. It is cut at 1 KiB, and
/// a plugin that logs without end loses lines.
pub fn log(level: Level, text: &str) {
    import::log(level as i32, text);
}

/// The JSON body of the HTTP request that is being answered, without its key. It works in `members`
/// and `shape`, and panics elsewhere.
pub fn request_body() -> String {
    let mut body = vec![0; 512];
    loop {
        let length = import::request(&mut body);
        let length = usize::try_from(length).expect("request_body: only members and shape answer a request");
        let fits = length <= body.len();
        body.resize(length, 0);
        if fits {
            return String::from_utf8(body).expect("the host sent text that is not UTF-8");
        }
    }
}

/// Adds to the metric `caddy_rollcall_plugin_counter_total` with the name. A name has 1 to 40
/// characters of a to z, 0 to 9 and _; a plugin has at most 32. The number is 0 or more. It works in
/// all hooks; anything else ends the call like a panic.
pub fn count(name: &str, number: i64) {
    import::count(name, number);
}

#[cfg(target_arch = "wasm32")]
mod import {
    mod raw {
        #[link(wasm_import_module = "rollcall")]
        extern "C" {
            pub fn log(level: i32, ptr: *const u8, len: usize);
            pub fn request(ptr: *mut u8, cap: usize) -> i32;
            pub fn count(name: *const u8, len: usize, delta: i64);
        }
    }

    pub fn log(level: i32, text: &str) {
        unsafe { raw::log(level, text.as_ptr(), text.len()) }
    }

    pub fn request(body: &mut [u8]) -> i32 {
        unsafe { raw::request(body.as_mut_ptr(), body.len()) }
    }

    pub fn count(name: &str, number: i64) {
        unsafe { raw::count(name.as_ptr(), name.len(), number) }
    }
}

/// For `cargo test`: lines go to standard error, there is no request, and nothing is counted.
#[cfg(not(target_arch = "wasm32"))]
mod import {
    pub fn log(level: i32, text: &str) {
        eprintln!("level {}: {}", level, text);
    }

    pub fn request(_: &mut [u8]) -> i32 {
        -1
    }

    pub fn count(_: &str, _: i64) {}
}
