use serde_json::json;

use super::*;

#[test]
fn all_faults_are_reported_together_and_by_name() {
    let request = DeployBot {
        bot_id: "a/b".into(),
        runtime: Some("cobol".into()),
        entrypoint: Some("../main.py".into()),
        config_json: Some("[1]".to_owned().into()),
        limits: Some(Limits { pids: 0, memory_bytes: 1, ..Limits::default() }),
        environment: Some([("1X".to_owned(), "canary\0".to_owned().into())].into()),
        network: Some("everything".into()),
        image: Some("an image".into()),
        stop_grace_ms: Some(u64::MAX),
        version: Some("1\n2".into()),
        ..DeployBot::default()
    };
    let faults = request.check().unwrap_err();
    let fields: Vec<_> = faults.iter().map(|fault| fault.field.as_str()).collect();
    let expected = [
        "bot_id",
        "runtime",
        "network",
        "config_json",
        "version",
        "entrypoint",
        "image",
        "stop_grace_ms",
        "limits.memory_bytes",
        "limits.pids",
        "environment[\"1X\"]",
        "environment[\"1X\"]",
    ];
    assert_eq!(fields, expected);
    assert!(!FieldFault::join(&faults).contains("canary"));
}

#[test]
fn a_new_bot_needs_a_runtime_an_entrypoint_and_code() {
    let faults = |runtime: Option<&str>, code: Option<&CodePlace>| {
        let request =
            DeployBot { bot_id: "b".into(), runtime: runtime.map(str::to_owned), ..DeployBot::default() };
        let faults = request.check().unwrap().onto(None, code).unwrap_err();
        faults.into_iter().map(|fault| fault.field).collect::<Vec<_>>()
    };
    assert_eq!(faults(None, None), ["code_location", "runtime"]);
    assert_eq!(faults(Some("rust-stable"), Some(&code("x"))), ["entrypoint"]);
}

#[test]
fn what_is_absent_keeps_what_is_stored() {
    let first = DeployBot {
        bot_id: "b".into(),
        name: Some("sma".into()),
        version: Some("1.0.0".into()),
        runtime: Some("nodejs20".into()),
        entrypoint: Some("bot.mjs".into()),
        config_json: Some(r#"{"k": 1.5}"#.to_owned().into()),
        limits: Some(Limits { pids: 9, ..Limits::default() }),
        network: Some("none".into()),
        environment: Some([("A".to_owned(), "b".to_owned().into())].into()),
        kind: Some("realtime/sma".into()),
        stop_grace_ms: Some(5),
        ..DeployBot::default()
    };
    let stored = first.check().unwrap().onto(None, Some(&code("one"))).unwrap();
    let spec = stored.unit_spec().unwrap();
    assert_eq!((spec.entrypoint.as_str(), spec.limits.pids, spec.network), ("bot.mjs", 9, Network::None));
    assert_eq!((spec.code.location.as_str(), spec.stop_grace_ms), ("one", 5));
    assert_eq!(*spec.config.expose(), json!({"k": 1.5}));
    let second = DeployBot { bot_id: "b".into(), ..DeployBot::default() }.check().unwrap();
    assert_eq!(second.onto(Some(&stored), None).unwrap(), stored);
    let third = second.onto(Some(&stored), Some(&code("two"))).unwrap();
    assert_eq!(third.custom.file_path, "two");
    assert_eq!(third.config, stored.config);
}

fn code(location: &str) -> CodePlace {
    CodePlace { location: location.into(), digest: None }
}
