//! Pure: a value that must not be printed.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Holds a value that never shows itself: `Debug` prints `Secret(..)` and there is no `Display`.
///
/// It serializes as the value itself, because stores and the agent's file need it; take care where that goes.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Wraps a value.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value. The name is long so that it is seen in review.
    pub const fn expose(&self) -> &T {
        &self.0
    }

    /// The value, consumed.
    pub fn into_exposed(self) -> T {
        self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl<T> From<T> for Secret<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_print() {
        assert_eq!(format!("{:?}", Secret::new("key")), "Secret(..)");
        assert_eq!(serde_json::to_string(&Secret::new("key")).unwrap(), "\"key\"");
    }
}
