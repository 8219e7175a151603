//! Pure: names of things, checked once where they enter and cheap to clone afterwards.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize};

/// Longest bot id accepted, in bytes. Leaves room for prefixes in container names (Docker has no limit, DNS labels 63,
/// file names 255).
pub const BOT_ID_MAX: usize = 128;
/// Longest worker id accepted, in bytes.
pub const WORKER_ID_MAX: usize = 128;

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {value} is not valid: {reason}")]
pub struct IdError {
    /// What was being named, for example `bot id`.
    pub kind: &'static str,
    /// The offending text, quoted, escaped and shortened.
    pub value: String,
    /// What is wrong with it and what is accepted.
    pub reason: String,
}

impl IdError {
    fn new(kind: &'static str, value: &str, reason: impl Into<String>) -> Self {
        let shown: String = value.chars().take(40).collect();
        let more = if shown.len() < value.len() { "…" } else { "" };
        Self { kind, value: format!("{shown:?}{more}"), reason: reason.into() }
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks the text and takes it as an id.
            pub fn new(text: impl AsRef<str>) -> Result<Self, IdError> {
                let text = text.as_ref();
                $check(text).map_err(|reason| IdError::new($kind, text, reason))?;
                Ok(Self(text.into()))
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
                let text = String::deserialize(input)?;
                Self::new(text).map_err(serde::de::Error::custom)
            }
        }
    };
}

text_id!(
    /// A bot, as the platform and the operator name it: 1 to 128 of `A-Z a-z 0-9 _ -`, not starting with `-`.
    BotId,
    "bot id",
    check_bot_id
);
text_id!(
    /// A worker process: 1 to 128 printable ASCII characters without spaces.
    WorkerId,
    "worker id",
    check_worker_id
);
text_id!(
    /// One thing an executor runs, and what it is: `bot/<id>`, `run/<id>/<slot>`, `backtest/<id>`, `query/<id>`.
    ///
    /// Two starts of the same unit are one start: the id is what makes them idempotent.
    UnitId,
    "unit id",
    check_unit_id
);

fn check_bot_id(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("it is empty; give 1 to 128 characters".into());
    }
    if text.len() > BOT_ID_MAX {
        return Err(format!("it has {} bytes; at most {BOT_ID_MAX} are allowed", text.len()));
    }
    if text.starts_with('-') {
        return Err("it starts with `-`".into());
    }
    match text.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))) {
        Some(c) => Err(format!("{c:?} is not allowed; use letters, digits, `_` and `-`")),
        None => Ok(()),
    }
}

fn check_worker_id(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("it is empty".into());
    }
    if text.len() > WORKER_ID_MAX {
        return Err(format!("it has {} bytes; at most {WORKER_ID_MAX} are allowed", text.len()));
    }
    match text.chars().find(|c| !c.is_ascii_graphic()) {
        Some(c) => Err(format!("{c:?} is not allowed; use printable ASCII without spaces")),
        None => Ok(()),
    }
}

fn check_unit_id(text: &str) -> Result<(), String> {
    let mut parts = text.split('/');
    let kind = parts.next().unwrap_or_default();
    if !matches!(kind, "bot" | "run" | "backtest" | "query") {
        return Err("it must start with bot/, run/, backtest/ or query/".into());
    }
    let mut names = 0;
    for part in parts {
        check_bot_id(part)?;
        names += 1;
    }
    if names == 0 || names > 2 {
        return Err("it must have one or two names after its kind".into());
    }
    Ok(())
}

impl UnitId {
    /// The unit of a live bot.
    pub fn bot(bot: &BotId) -> Self {
        Self(format!("bot/{bot}").into())
    }

    /// The bot this unit runs live, if it is such a unit.
    pub fn as_bot(&self) -> Option<BotId> {
        let name = self.0.strip_prefix("bot/")?;
        BotId::new(name).ok()
    }

    /// The id with `/` replaced, for names of containers and folders: `bot-<id>`.
    pub fn slug(&self) -> String {
        self.0.replace('/', "-")
    }
}

/// A shard of bots: a `partitions` document. Numbers start at 1 and are never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SegmentId(pub i32);

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// When a grant was given. Ordered: nothing from an older leadership compares as newer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Generation {
    /// Grows with every leadership (in single-process mode: with every start of the service).
    pub term: u64,
    /// Grows with every decision within a term.
    pub step: u64,
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.term, self.step)
    }
}

impl FromStr for Generation {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let parsed =
            text.split_once('.').and_then(|(term, step)| Some((term.parse().ok()?, step.parse().ok()?)));
        let (term, step) =
            parsed.ok_or_else(|| IdError::new("generation", text, "expected <term>.<step>"))?;
        Ok(Self { term, step })
    }
}

/// Hash of a whole [`UnitSpec`](crate::UnitSpec). Stored as a label: a different digest *is* the detection of change.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpecDigest(pub [u8; 32]);

impl fmt::Display for SpecDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for SpecDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0[..6]))
    }
}

impl FromStr for SpecDigest {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes)
            .map_err(|error| IdError::new("spec digest", text, error.to_string()))?;
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bot_ids_that_would_leave_their_folder_or_label_are_refused() {
        for bad in ["", "a/b", "..", "a\0b", "bötchen", "-x", "x\n", "a b", "a=b", "a,b", &"x".repeat(300)] {
            let error = BotId::new(bad).expect_err(bad);
            assert!(error.to_string().starts_with("bot id "), "{error}");
            assert!(error.to_string().len() < 200, "the text is shortened: {error}");
        }
        for good in ["a", "bot-1", "B_2", "123", &"x".repeat(128)] {
            assert_eq!(BotId::new(good).unwrap().as_str(), good);
        }
    }

    #[test]
    fn unit_ids_say_what_they_are() {
        let unit = UnitId::bot(&BotId::new("b1").unwrap());
        assert_eq!(unit.to_string(), "bot/b1");
        assert_eq!(unit.slug(), "bot-b1");
        assert_eq!(unit.as_bot().unwrap().as_str(), "b1");
        assert!(UnitId::new("run/b1/1700000000").is_ok());
        for bad in ["b1", "bot/", "bot", "other/x", "bot/a/b/c", "bot/../x"] {
            assert!(UnitId::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn generations_of_a_newer_term_are_newer() {
        let old = Generation { term: 1, step: 900 };
        let new = Generation { term: 2, step: 0 };
        assert!(new > old);
        assert_eq!("2.0".parse::<Generation>().unwrap(), new);
        assert!("2".parse::<Generation>().is_err());
    }
}
