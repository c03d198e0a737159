//! Write plugins for Rollcall, a websocket presence gateway.
//!
//! A plugin is a WebAssembly module that decides, for one host, what kind a channel is, who may join it, and what the
//! answers of the HTTP endpoints show. This crate does the encoding: a plugin is a few functions with typed arguments,
//! handed to [`plugin!`].
//!
//! ```
//! use rollcall::{Decision, Member, Request};
//!
//! rollcall::plugin! {
//!     classify: |request: &Request| {
//!         if request.channel().starts_with("lobby-") { Decision::ANONYMOUS } else { Decision::NO_OPINION }
//!     },
//!     members: |member: &mut Member| member.remove("email"),
//! }
//! ```
//!
//! | hook | function | called |
//! | --- | --- | --- |
//! | `connect` | `fn(&Login) -> Entry` | when a connection opens or logs in |
//! | `classify` | `fn(&Request) -> Decision` | when a channel becomes active |
//! | `authorize` | `fn(&Request) -> Access` | when a connection joins a channel |
//! | `message` | `fn(&Message) -> Verdict` | for each message and channel, before it is sent |
//! | `members` | `fn(&mut Member)` | for each user that an answer lists, or that browsers see |
//! | `shape` | `fn(&Answer) -> Option<Json>` | for each answer, after `members` |
//!
//! A panic becomes an error in the log of Caddy and ends the call; what happens to the join or the answer then is up to
//! `on_failure` in the Caddyfile. Outside of WebAssembly everything works but [`request_body`] and [`count`], so that `cargo test` on
//! the author's machine can try the functions of a plugin.

#[doc(hidden)]
pub mod abi;
mod batch;
mod config;
mod decision;
mod host;
mod json;
pub mod kv;
mod login;
mod macros;
mod member;
mod message;
mod request;
mod shape;

pub use config::{Block, Config, ConfigError};
pub use decision::{Access, Decision};
pub use host::{count, log, request_body, Level};
pub use json::{Json, JsonError};
pub use login::{Entry, Login};
pub use member::Member;
pub use message::{Message, Verdict};
pub use request::{Endpoint, Kind, Request};
pub use shape::Answer;
