use super::*;

fn header() -> pb::DeployHeader {
    pb::DeployHeader {
        bot_id: "b1".into(),
        runtime: "python3.11".into(),
        bundle_bytes: 1,
        bundle_digest: "ab".repeat(32),
        ..pb::DeployHeader::default()
    }
}

fn fields(faults: &[FieldFault]) -> Vec<&str> {
    faults.iter().map(|fault| fault.field.as_str()).collect()
}

#[test]
fn a_sound_header_is_accepted() {
    let upload = deploy(header()).unwrap();
    assert_eq!((upload.bytes, upload.deploy.bot_id.as_str()), (1, "b1"));
}

#[test]
fn every_fault_of_a_header_is_named_at_once() {
    let bad = pb::DeployHeader {
        bot_id: "a/b".into(),
        runtime: "cobol".into(),
        entrypoint: "../x".into(),
        config_json: "[1".into(),
        network: "lan".into(),
        image: "-x".into(),
        stop_grace_ms: u64::MAX,
        limits: Some(pb::ResourceLimits { memory_bytes: 1, pids: 1, ..pb::ResourceLimits::default() }),
        environment: (0..65)
            .map(|n| (format!("V{n}"), String::new()))
            .chain([("1x".into(), String::new())])
            .collect(),
        bundle_bytes: 0,
        bundle_digest: "zz".into(),
        ..pb::DeployHeader::default()
    };
    let faults = deploy(bad).unwrap_err();
    let found = fields(&faults);
    for field in [
        "bot_id",
        "runtime",
        "entrypoint",
        "config_json",
        "network",
        "image",
        "stop_grace_ms",
        "limits.memory_bytes",
        "limits.pids",
        "environment",
        "environment[\"1x\"]",
        "bundle_bytes",
        "bundle_digest",
    ] {
        assert!(found.contains(&field), "{field} is missing in {found:?}");
    }
}

#[test]
fn ids_that_lead_astray_are_refused_everywhere() {
    for bad in ["", "a/b", "a\0b", "bötchen", "..", &"x".repeat(300)] {
        assert!(
            bot_id(bad).is_err() && deploy(pb::DeployHeader { bot_id: bad.into(), ..header() }).is_err(),
            "{bad:?}"
        );
        assert!(stop(&pb::StopBotRequest { bot_id: bad.into(), wait_ms: 0 }).is_err());
        assert!(logs(&pb::StreamLogsRequest { bot_id: bad.into(), ..Default::default() }).is_err());
        assert!(execute(pb::ExecuteBotRequest { bot_id: bad.into(), ..Default::default() }).is_err());
    }
}

#[test]
fn a_configuration_of_two_megabytes_is_refused_and_one_of_one_is_not() {
    let with = |bytes: usize| pb::DeployHeader {
        config_json: format!("{{\"k\": \"{}\"}}", "x".repeat(bytes)),
        ..header()
    };
    assert!(deploy(with(1 << 20)).is_ok());
    assert_eq!(fields(&deploy(with(2 << 20)).unwrap_err()), ["config_json"]);
}

#[test]
fn an_execution_names_its_own_fields_and_changes_nothing_when_only_named() {
    let faults = execute(pb::ExecuteBotRequest {
        bot_id: "b1".into(),
        bot_config: "nope".into(),
        resource_limits: Some(pb::ResourceLimits { pids: 1, ..Default::default() }),
        execution_id: "x".repeat(200),
        ..Default::default()
    })
    .unwrap_err();
    assert_eq!(fields(&faults), ["bot_config", "resource_limits.pids", "execution_id"]);
    let named = execute(pb::ExecuteBotRequest { bot_id: "b1".into(), ..Default::default() }).unwrap();
    assert!(named.deploy.is_none());
}

#[test]
fn pages_and_tails_have_limits() {
    let faults =
        list(&pb::ListBotsRequest { page_size: 1001, page_token: "a/b".into(), phase: 99 }).unwrap_err();
    assert_eq!(fields(&faults), ["page_size", "page_token", "phase"]);
    assert_eq!(list(&pb::ListBotsRequest::default()).unwrap().size, 100);
    let both = pb::StreamLogsRequest {
        bot_id: "b".into(),
        previous: true,
        attempt: 1,
        tail: Some(u32::MAX),
        ..Default::default()
    };
    assert_eq!(fields(&logs(&both).unwrap_err()), ["attempt", "tail"]);
}
