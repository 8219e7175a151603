//! Pure: everything needed to run one thing, with no choice left to whoever runs it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Limits, Network, Runtime, Secret, SpecDigest, UnitId};

/// How a unit is meant to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum UnitKind {
    /// Runs until stopped; an end is followed by a restart, with backoff.
    Service,
    /// Runs to its end once.
    Job {
        /// Longest run allowed, in milliseconds.
        deadline_ms: u64,
    },
}

/// Where the code of a unit is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeRef {
    /// Key in the code bucket, taken verbatim from the bot's `custom.filePath`; or a whole URL (`gs://bucket/key`,
    /// `s3://bucket/key`, `file:///path`).
    pub location: String,
    /// Version the bot was published as.
    pub version: String,
    /// BLAKE3 of the bundle in hex, where it is known beforehand. A download that differs is refused.
    pub digest: Option<String>,
}

/// Everything needed to run one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitSpec {
    /// What it is.
    pub id: UnitId,
    /// How it is meant to end.
    pub kind: UnitKind,
    /// Language.
    pub runtime: Runtime,
    /// File (or `jar:Class`) in the bundle, relative.
    pub entrypoint: String,
    /// Where the code is.
    pub code: CodeRef,
    /// The user's configuration; holds exchange keys.
    pub config: Secret<serde_json::Value>,
    /// More environment for the user's process; may hold keys too.
    pub env: BTreeMap<String, Secret<String>>,
    /// What it may use.
    pub limits: Limits,
    /// What it may reach.
    pub network: Network,
    /// Image to use in place of the runtime's own, where containers are.
    pub image: Option<String>,
    /// Time between SIGTERM and SIGKILL, in milliseconds.
    pub stop_grace_ms: u64,
    /// Raised to restart a unit that is otherwise unchanged.
    pub restarts_requested: u64,
}

impl UnitSpec {
    /// Digest of the whole specification. Any change of config, code, limits and so on changes it; nothing else does.
    ///
    /// Maps are ordered (`serde_json` without `preserve_order`), so equal specifications have equal digests.
    pub fn digest(&self) -> SpecDigest {
        let text = serde_json::to_vec(self).unwrap_or_default();
        SpecDigest(*blake3::hash(&text).as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn spec(config: serde_json::Value) -> UnitSpec {
        UnitSpec {
            id: UnitId::new("bot/b1").unwrap(),
            kind: UnitKind::Service,
            runtime: Runtime::Python311,
            entrypoint: "main.py".into(),
            code: CodeRef { location: "u/b/1.0.0".into(), version: "1.0.0".into(), digest: None },
            config: Secret::new(config),
            env: BTreeMap::new(),
            limits: Limits::default(),
            network: Network::Outside,
            image: None,
            stop_grace_ms: 30_000,
            restarts_requested: 0,
        }
    }

    #[test]
    fn every_field_counts() {
        let base = spec(json!({"a": 1}));
        let mut others = vec![spec(json!({"a": 2}))];
        others.push(UnitSpec { entrypoint: "x.py".into(), ..base.clone() });
        others.push(UnitSpec { runtime: Runtime::Nodejs20, ..base.clone() });
        others.push(UnitSpec { stop_grace_ms: 1, ..base.clone() });
        others.push(UnitSpec { restarts_requested: 1, ..base.clone() });
        others.push(UnitSpec { network: Network::None, ..base.clone() });
        others.push(UnitSpec { image: Some("x".into()), ..base.clone() });
        others.push(UnitSpec { env: [("A".to_owned(), Secret::new("b".to_owned()))].into(), ..base.clone() });
        others.push(UnitSpec { limits: Limits { pids: 9, ..Limits::default() }, ..base.clone() });
        for other in others {
            assert_ne!(other.digest(), base.digest(), "{other:?}");
        }
        assert_eq!(base.clone().digest(), base.digest());
    }

    #[test]
    fn secrets_do_not_show() {
        let shown = format!("{:?}", spec(json!({"apiKey": "canary-4711"})));
        assert!(!shown.contains("canary"), "{shown}");
    }

    proptest! {
        #[test]
        fn the_digest_survives_a_round_trip(number: f64, text in ".*") {
            prop_assume!(number.is_finite());
            let spec = spec(json!({"n": number, "t": text}));
            let back: UnitSpec = serde_json::from_str(&serde_json::to_string(&spec).unwrap()).unwrap();
            prop_assert_eq!(back.digest(), spec.digest());
        }
    }
}
