//! Pure: what a container says of itself, so that any process finds its units again without a memory of its own.

use std::{collections::BTreeMap, sync::Arc};

use the0_core::Owner;
use the0_model::{Generation, SegmentId, SpecDigest, UnitId, WorkerId};

/// Name of each label.
pub mod name {
    /// `true` on everything that a runtime of the platform manages.
    pub const MANAGED: &str = "runtime.managed";
    /// Id of the bot (or of the run's bot, the backtest, the query), as the platform names it.
    pub const ID: &str = "runtime.id";
    /// `realtime`, `scheduled`, `backtest` or `query`.
    pub const TYPE: &str = "runtime.type";
    /// Number of the segment.
    pub const SEGMENT: &str = "runtime.segment";
    /// The unit's whole id.
    pub const UNIT: &str = "the0.unit";
    /// Service that wants it.
    pub const SERVICE: &str = "the0.service";
    /// Process that started it.
    pub const WORKER: &str = "the0.worker";
    /// Grant under which it was started.
    pub const GENERATION: &str = "the0.generation";
    /// Digest of its specification.
    pub const DIGEST: &str = "the0.digest";
    /// Number of the attempt.
    pub const ATTEMPT: &str = "the0.attempt";
    /// Hash of the data directory its files are in, so that two installations on one machine leave each other alone.
    pub const DATA: &str = "the0.data";
}

/// Everything a container says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels {
    /// What it is.
    pub unit: UnitId,
    /// Who answers for it.
    pub owner: Owner,
    /// Specification it was started with.
    pub digest: SpecDigest,
    /// Number of the attempt.
    pub attempt: u64,
    /// Hash of the data directory.
    pub data: String,
}

/// A container that carries our mark and cannot be read: made by another version, or by hand.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("label {label} is missing or not valid: {value:?}")]
pub struct LabelError {
    /// Name of the label.
    pub label: &'static str,
    /// What stands there.
    pub value: Option<String>,
}

impl Labels {
    /// The labels as the platform stores them.
    pub fn encode(&self) -> BTreeMap<String, String> {
        let (kind, id) = kind_and_id(&self.unit);
        let pairs = [
            (name::MANAGED, "true".to_owned()),
            (name::ID, id.to_owned()),
            (name::TYPE, kind.to_owned()),
            (name::SEGMENT, self.owner.segment.to_string()),
            (name::UNIT, self.unit.to_string()),
            (name::SERVICE, self.owner.service.to_string()),
            (name::WORKER, self.owner.worker.to_string()),
            (name::GENERATION, self.owner.generation.to_string()),
            (name::DIGEST, self.digest.to_string()),
            (name::ATTEMPT, self.attempt.to_string()),
            (name::DATA, self.data.clone()),
        ];
        pairs.into_iter().map(|(label, value)| (label.to_owned(), value)).collect()
    }

    /// Reads labels back; `get` looks one up by name. Fails with the first label that is missing or malformed.
    pub fn decode<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Result<Self, LabelError> {
        let parsed = |label: &'static str| Field { label, text: get(label) };
        Ok(Self {
            unit: parsed(name::UNIT).read(|text| UnitId::new(text).ok())?,
            owner: Owner {
                service: parsed(name::SERVICE).read(|text| Some(Arc::from(text)))?,
                segment: parsed(name::SEGMENT).read(|text| text.parse().ok().map(SegmentId))?,
                worker: parsed(name::WORKER).read(|text| WorkerId::new(text).ok())?,
                generation: parsed(name::GENERATION).read(|text| text.parse::<Generation>().ok())?,
            },
            digest: parsed(name::DIGEST).read(|text| text.parse().ok())?,
            attempt: parsed(name::ATTEMPT).read(|text| text.parse().ok())?,
            data: parsed(name::DATA).read(|text| Some(text.to_owned()))?,
        })
    }
}

struct Field<'a> {
    label: &'static str,
    text: Option<&'a str>,
}

impl Field<'_> {
    fn read<T>(self, parse: impl Fn(&str) -> Option<T>) -> Result<T, LabelError> {
        self.text
            .and_then(parse)
            .ok_or_else(|| LabelError { label: self.label, value: self.text.map(str::to_owned) })
    }
}

/// The platform's word for the kind of unit, and the name it goes by there.
fn kind_and_id(unit: &UnitId) -> (&'static str, &str) {
    let mut parts = unit.as_str().split('/');
    let kind = match parts.next() {
        Some("run") => "scheduled",
        Some("backtest") => "backtest",
        Some("query") => "query",
        _ => "realtime",
    };
    (kind, parts.next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels(unit: &str) -> Labels {
        Labels {
            unit: UnitId::new(unit).unwrap(),
            owner: Owner {
                service: "bot-runner".into(),
                segment: SegmentId(3),
                worker: WorkerId::new("host-1").unwrap(),
                generation: Generation { term: 2, step: 7 },
            },
            digest: SpecDigest([7; 32]),
            attempt: 4,
            data: "0badcafe".into(),
        }
    }

    fn decode(map: &BTreeMap<String, String>) -> Result<Labels, LabelError> {
        Labels::decode(|label| map.get(label).map(String::as_str))
    }

    #[test]
    fn the_platforms_names_are_there() {
        let map = labels("run/b1/170").encode();
        assert_eq!(map["runtime.managed"], "true");
        assert_eq!(map["runtime.id"], "b1");
        assert_eq!(map["runtime.type"], "scheduled");
        assert_eq!(map["runtime.segment"], "3");
        assert_eq!(labels("bot/b1").encode()["runtime.type"], "realtime");
    }

    #[test]
    fn a_label_that_cannot_be_read_is_named() {
        let mut map = labels("bot/b1").encode();
        map.insert(name::DIGEST.into(), "zz".into());
        let error = decode(&map).unwrap_err().to_string();
        assert!(error.contains("the0.digest") && error.contains("zz"), "{error}");
        map.remove(name::UNIT);
        assert_eq!(decode(&map).unwrap_err(), LabelError { label: name::UNIT, value: None });
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            id in "[A-Za-z0-9_][A-Za-z0-9_-]{0,30}", service in "[a-z-]{1,20}", worker in "[!-~]{1,40}",
            digest: [u8; 32], attempt: u64, segment: i32, term: u64, step: u64,
        ) {
            let labels = Labels {
                unit: UnitId::new(format!("bot/{id}")).unwrap(),
                owner: Owner {
                    service: service.into(),
                    segment: SegmentId(segment),
                    worker: WorkerId::new(worker).unwrap(),
                    generation: Generation { term, step },
                },
                digest: SpecDigest(digest),
                attempt,
                data: "0badcafe".into(),
            };
            prop_assert_eq!(decode(&labels.encode()), Ok(labels));
        }
    }
}
