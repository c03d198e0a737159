/// Builds a plugin from functions, and exports them for the host. A crate has one.
///
/// At least one of the hooks `connect`, `classify`, `authorize`, `message`, `members` and `shape`; only those that are there are exported, in
/// the order that you like. Each takes a closure without captures or the path of a function.
///
/// `members` is called for what browsers see, too. Its result is then kept until the user or the configuration changes: it
/// may depend on these alone. Of its keys, the site shows `id` and those in its option `members`.
///
/// With `configure: fn(&Config) -> Result<(), E>` in front, the plugin is called once with its block of the Caddyfile,
/// before any hook. An error refuses the plugin, and its text is logged. To keep what was configured, name its type:
/// `configure` then returns it, and each hook gets a reference to it as the first argument.
///
/// ```
/// use rollcall::{Block, Config, ConfigError, Decision, Request};
///
/// struct Rules {
///     hidden: Vec<String>,
/// }
///
/// impl Rules {
///     fn new(config: &Config) -> Result<Rules, ConfigError> {
///         config.block().only(&["hidden"])?;
///         Ok(Rules { hidden: config.block().strings("hidden")? })
///     }
///
///     fn classify(&self, request: &Request) -> Decision {
///         match self.hidden.iter().any(|name| name == request.channel()) {
///             true => Decision::NO_OPINION.hidden(),
///             false => Decision::NO_OPINION,
///         }
///     }
/// }
///
/// rollcall::plugin! {
///     state: Rules,
///     configure: Rules::new,
///     classify: Rules::classify,
/// }
/// ```
#[macro_export]
macro_rules! plugin {
    (@connect $function:expr) => {
        #[no_mangle]
        pub extern "C" fn rollcall_connect(ptr: *const u8, len: usize) -> u64 {
            let hook: fn(&$crate::Login) -> $crate::Entry = $function;
            unsafe { $crate::abi::connect(ptr, len, hook) }
        }
    };
    (@message $function:expr) => {
        #[no_mangle]
        pub extern "C" fn rollcall_message(ptr: *const u8, len: usize) -> u64 {
            let hook: fn(&$crate::Message) -> $crate::Verdict = $function;
            unsafe { $crate::abi::message(ptr, len, hook) }
        }
    };
    (@classify $function:expr) => {
        #[no_mangle]
        pub extern "C" fn rollcall_classify(ptr: *const u8, len: usize) -> u64 {
            let hook: fn(&$crate::Request) -> $crate::Decision = $function;
            unsafe { $crate::abi::classify(ptr, len, hook) }
        }
    };
    (@authorize $function:expr) => {
        #[no_mangle]
        pub extern "C" fn rollcall_authorize(ptr: *const u8, len: usize) -> u64 {
            let hook: fn(&$crate::Request) -> $crate::Access = $function;
            unsafe { $crate::abi::authorize(ptr, len, hook) }
        }
    };
    (@members $function:expr) => {
        #[no_mangle]
        pub extern "C" fn rollcall_members_live() {}

        #[no_mangle]
        pub extern "C" fn rollcall_members(endpoint: i32, ptr: *const u8, len: usize) -> u64 {
            let hook: fn(&mut $crate::Member) = $function;
            unsafe { $crate::abi::members(endpoint, ptr, len, hook) }
        }
    };
    (@shape $function:expr) => {
        #[no_mangle]
        pub extern "C" fn rollcall_shape(endpoint: i32, ptr: *const u8, len: usize) -> u64 {
            let hook: fn(&$crate::Answer) -> Option<$crate::Json> = $function;
            unsafe { $crate::abi::shape(endpoint, ptr, len, hook) }
        }
    };
    (@connect $state:ty, $function:expr) => {
        #[no_mangle]
        pub extern "C" fn rollcall_connect(ptr: *const u8, len: usize) -> u64 {
            let hook: fn(&$state, &$crate::Login) -> $crate::Entry = $function;
            unsafe { $crate::abi::connect(ptr, len, |login| hook(rollcall_state(), login)) }
        }
    };
    (@message $state:ty, $function:expr) => {
        #[no_mangle]
        pub extern "C" fn rollcall_message(ptr: *const u8, len: usize) -> u64 {
            let hook: fn(&$state, &$crate::Message) -> $crate::Verdict = $function;
            unsafe { $crate::abi::message(ptr, len, |message| hook(rollcall_state(), message)) }
        }
    };
    (@classify $state:ty, $function:expr) => {
        #[no_mangle]
        pub extern "C" fn rollcall_classify(ptr: *const u8, len: usize) -> u64 {
            let hook: fn(&$state, &$crate::Request) -> $crate::Decision = $function;
            unsafe { $crate::abi::classify(ptr, len, |request| hook(rollcall_state(), request)) }
        }
    };
    (@authorize $state:ty, $function:expr) => {
        #[no_mangle]
        pub extern "C" fn rollcall_authorize(ptr: *const u8, len: usize) -> u64 {
            let hook: fn(&$state, &$crate::Request) -> $crate::Access = $function;
            unsafe { $crate::abi::authorize(ptr, len, |request| hook(rollcall_state(), request)) }
        }
    };
    (@members $state:ty, $function:expr) => {
        #[no_mangle]
        pub extern "C" fn rollcall_members_live() {}

        #[no_mangle]
        pub extern "C" fn rollcall_members(endpoint: i32, ptr: *const u8, len: usize) -> u64 {
            let hook: fn(&$state, &mut $crate::Member) = $function;
            unsafe { $crate::abi::members(endpoint, ptr, len, |member| hook(rollcall_state(), member)) }
        }
    };
    (@shape $state:ty, $function:expr) => {
        #[no_mangle]
        pub extern "C" fn rollcall_shape(endpoint: i32, ptr: *const u8, len: usize) -> u64 {
            let hook: fn(&$state, &$crate::Answer) -> Option<$crate::Json> = $function;
            unsafe { $crate::abi::shape(endpoint, ptr, len, |answer| hook(rollcall_state(), answer)) }
        }
    };
    (@common) => {
        #[no_mangle]
        pub extern "C" fn rollcall_abi_v1() {}

        #[no_mangle]
        pub extern "C" fn rollcall_buffer(size: usize) -> *mut u8 {
            $crate::abi::buffer(size)
        }

        #[cfg(target_arch = "wasm32")]
        #[no_mangle]
        pub extern "C" fn _initialize() {
            $crate::abi::initialize()
        }
    };
    (@ $hook:ident $($rest:tt)*) => {
        compile_error!(concat!(
            "there is no hook ", stringify!($hook), ": the hooks are connect, classify, authorize, message, members and shape; \
             state and configure, in this order, come before them"
        ));
    };

    (state: $state:ty, configure: $configure:expr, $($hook:ident: $function:expr),+ $(,)?) => {
        static ROLLCALL_STATE: $crate::abi::Global<Option<$state>> = $crate::abi::Global::new(None);

        #[inline(always)]
        fn rollcall_state() -> &'static $state {
            match unsafe { ROLLCALL_STATE.get() } {
                Some(state) => state,
                None => panic!("a hook was called before rollcall_configure"),
            }
        }

        #[no_mangle]
        pub extern "C" fn rollcall_configure(ptr: *const u8, len: usize) -> i32 {
            unsafe { $crate::abi::configure(ptr, len, $configure, |state| *ROLLCALL_STATE.get() = Some(state)) }
        }

        $crate::plugin!(@common);
        $($crate::plugin!(@$hook $state, $function);)+
    };
    (configure: $configure:expr, $($hook:ident: $function:expr),+ $(,)?) => {
        #[no_mangle]
        pub extern "C" fn rollcall_configure(ptr: *const u8, len: usize) -> i32 {
            unsafe { $crate::abi::configure(ptr, len, $configure, |()| ()) }
        }

        $crate::plugin!(@common);
        $($crate::plugin!(@$hook $function);)+
    };
    ($($hook:ident: $function:expr),+ $(,)?) => {
        $crate::plugin!(@common);
        $($crate::plugin!(@$hook $function);)+
    };
}
