//! What services keep their documents in.
//!
//! So far SQLite, the embedded default: one file, no server. A backend knows connections, files and transactions; what a
//! document means is known to the service whose store it is (`bot-runner`'s `store::sqlite`, for example).

pub mod sqlite;
