use std::{collections::BTreeMap, path::PathBuf};

use serde_json::json;
use the0_core::Owner;
use the0_model::{BotId, CodeRef, Generation, Runtime, Secret, SegmentId, UnitKind, WorkerId};

use super::*;

const CANARY: &str = "canary-4711";

fn spec() -> UnitSpec {
    UnitSpec {
        id: UnitId::bot(&BotId::new("b_1").unwrap()),
        kind: UnitKind::Service,
        runtime: Runtime::Python311,
        entrypoint: "main.py".into(),
        code: CodeRef { location: "u/b/1.0.0".into(), version: "1.0.0".into(), digest: None },
        config: Secret::new(json!({"apiKey": CANARY})),
        env: [("TOKEN".to_owned(), Secret::new(CANARY.to_owned()))].into(),
        limits: Limits::default(),
        network: Network::Outside,
        image: None,
        stop_grace_ms: 30_000,
        restarts_requested: 0,
    }
}

fn create(spec: &UnitSpec) -> serde_json::Value {
    let labels = Labels {
        unit: spec.id.clone(),
        owner: Owner {
            service: "bot-runner".into(),
            segment: SegmentId(1),
            worker: WorkerId::new("w1").unwrap(),
            generation: Generation { term: 1, step: 0 },
        },
        // Not the specification's own, which changes with every field that is ever added.
        digest: the0_model::SpecDigest([9; 32]),
        attempt: 3,
        data: "0badcafe".into(),
    };
    let unit = PathBuf::from("/data/units/bot-b_1");
    let attempt = unit.join("attempts/000003");
    let parts = Parts {
        tools: "/data/tools/aa".into(),
        code: "/data/cache/code/bb".into(),
        state: unit.join("state"),
        input: attempt.join("in"),
        attempt: attempt.join("attempt"),
        out: attempt.join("out"),
    };
    let settings = Settings { image: "python:3.11-slim", network: "bridge", run_as: (65534, 65534) };
    serde_json::to_value(body(spec, &labels, &parts, settings)).unwrap()
}

/// With the keys of every map in order: Docker's client keeps its maps unordered.
fn ordered(value: &serde_json::Value) -> String {
    serde_json::to_string_pretty(value).unwrap()
}

#[test]
fn the_whole_call_is_as_reviewed() {
    insta::assert_snapshot!("outside", ordered(&create(&spec())));
}

#[test]
fn a_unit_without_a_network_gets_none() {
    let body = create(&UnitSpec { network: Network::None, ..spec() });
    assert_eq!(body["HostConfig"]["NetworkMode"], "none");
}

#[test]
fn no_key_of_the_bot_is_anywhere_in_the_call() {
    let text = ordered(&create(&spec()));
    assert!(!text.contains(CANARY) && !text.contains("TOKEN") && !text.contains("apiKey"), "{text}");
}

#[test]
fn a_tmp_of_no_size_does_not_become_one_without_limit() {
    let body = create(&UnitSpec { limits: Limits { tmp_bytes: 0, ..Limits::default() }, ..spec() });
    assert_eq!(body["HostConfig"]["Tmpfs"]["/tmp"], "rw,noexec,nosuid,nodev,size=4096");
}

#[test]
fn host_names_are_ones_that_linux_takes() {
    let name = |id: &str| hostname(&UnitId::new(format!("bot/{id}")).unwrap());
    assert_eq!(name("b_1"), "b-1");
    assert_eq!(name("___"), "unit");
    assert_eq!(name(&"x".repeat(128)).len(), 63);
    assert_eq!(name(&format!("{}_y", "x".repeat(62))), "x".repeat(62));
}

#[test]
fn names_keep_two_installations_apart() {
    let unit = UnitId::new("run/b1/170").unwrap();
    let names: BTreeMap<_, _> =
        ["0badcafe99", "1badcafe99"].map(|hash| (container_name(hash, &unit), hash)).into();
    assert_eq!(names.keys().collect::<Vec<_>>(), ["the0-0badcafe-run-b1-170", "the0-1badcafe-run-b1-170"]);
}
