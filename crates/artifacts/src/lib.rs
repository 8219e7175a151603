//! Everything that lives in the object store; for now, bundles of code.
//!
//! ```text
//! a folder ──pack──▶ archive ──store_bundle──▶ object store ──fetch──▶ archive ──extract──▶ cache/code/<digest>/
//!                       (checked by unpacking it)          (single flight)   (hostile until proven otherwise)
//! ```
//!
//! [`ObjectStores`] knows where things are, [`extract`] lets nothing out of its folder, [`CodeCache`] keeps what was
//! unpacked under the digest of its bundle, read-only, for as many bots as run it.

pub mod code;
pub mod extract;
pub mod open;
pub mod pack;
mod scratch;

pub use code::{CachedCode, CodeCache, CodeError, MissingFile, StoredBundle, require_file};
pub use extract::{ExtractError, Extracted, Format, Limits, extract};
pub use open::{GcsSettings, ObjectStores, OpenError, S3Settings, Timeouts};
pub use pack::{PackError, Packed, Progress, pack};
