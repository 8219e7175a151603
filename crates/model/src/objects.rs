//! Pure: where things live in the object store, as the platform names them.

use crate::BotId;

/// Buckets, by their default names. In a directory store they are the top folders.
pub mod bucket {
    /// Code bundles (`MINIO_CODE_BUCKET`).
    pub const CODE: &str = "custom-bots";
    /// Logs (`MINIO_LOGS_BUCKET`).
    pub const LOGS: &str = "bot-logs";
    /// Saved state (`MINIO_STATE_BUCKET`).
    pub const STATE: &str = "bot-state";
}

/// Key of a bundle that an operator deployed by hand. It is content-addressed, so a key never changes its meaning.
pub fn deployed_code(bot: &BotId, bundle_digest_hex: &str) -> String {
    format!("deployed/{bot}/{bundle_digest_hex}")
}

/// Key of a bot's saved state.
pub fn state(bot: &BotId) -> String {
    format!("{bot}/state.tar.gz")
}
