use super::*;

#[test]
fn a_configuration_is_an_object_of_bounded_size_and_depth() {
    for (text, says) in [
        ("", "not valid JSON"),
        ("{", "not valid JSON"),
        ("{\"a\": 1e400}", "not valid JSON"),
        ("{\"a\": NaN}", "not valid JSON"),
        ("null", "is null"),
        ("[]", "is an array"),
        ("\"{}\"", "is a string"),
        (&format!("{{\"a\":{}{}}}", "[".repeat(110), "]".repeat(110)), "nested deeper"),
        (&format!("{{\"a\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000)), "not valid JSON"),
        (&format!("{{\"a\": \"{}\"}}", "x".repeat(2 * 1024 * 1024)), "at most"),
    ] {
        let fault = config("config_json", text).unwrap_err();
        assert!(fault.field == "config_json" && fault.problem.contains(says), "{fault}");
        assert!(fault.problem.len() < 300, "{fault}");
    }
    assert!(config("c", &format!("{{\"a\": \"{}\"}}", "x".repeat(1024 * 1024))).is_ok());
    let error = config("c", "{\"key\": canary}").unwrap_err();
    assert!(!error.problem.contains("canary"), "{error}");
}

#[test]
fn an_entrypoint_stays_in_its_bundle() {
    for bad in ["", "/etc/passwd", "../x", "a/../../x", "a/", "-c", "a\nb", "a\0b", &"x".repeat(600)] {
        assert!(entrypoint("entrypoint", bad).is_err(), "{bad:?}");
    }
    for good in ["main.py", "src/main.js", "bot.jar:com.example.Main", "a..b/x", "$(x);y"] {
        assert!(entrypoint("entrypoint", good).is_ok(), "{good:?}");
    }
}

#[test]
fn an_environment_is_bounded_and_its_values_stay_secret() {
    let one = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), Secret::new(value.to_owned()))]);
    for name in ["", "1A", "A-B", "A=B", "É", "A\0"] {
        let faults = env("environment", &one(name, "canary")).unwrap_err();
        assert!(!FieldFault::join(&faults).contains("canary"), "{faults:?}");
    }
    assert!(env("e", &one("A", &"x".repeat(ENV_BYTES_MAX))).is_err());
    let many = (0..300).map(|n| (format!("A{n}"), Secret::new(String::new()))).collect();
    assert!(env("e", &many).is_err());
    assert!(env("e", &one("_A1", "any thing = ☂")).is_ok());
}

#[test]
fn names_images_digests_and_networks_are_checked() {
    assert!(bot_id("bot_id", &"x".repeat(300)).is_err());
    assert!(label("name", "two\u{7}", 10).is_err() && label("name", "elevenbytes", 10).is_err());
    assert!(image("image", "-v /:/host").is_err() && image("image", "").is_err());
    assert!(image("image", "registry.example:5000/a/b@sha256:00").is_ok());
    assert!(digest("d", &"a".repeat(63)).is_err() && digest("d", &"G".repeat(64)).is_err());
    assert!(digest("d", &"0a".repeat(32)).is_ok());
    assert!(network("n", "host").is_err() && network("n", "none").is_ok());
    assert!(stop_grace_ms("s", 3_600_001).is_err() && stop_grace_ms("s", 0).is_ok());
}

#[test]
fn what_was_shown_masked_does_not_come_back_as_keys() {
    let fault = config("config_json", r#"{"n": 1, "exchange": {"keys": ["***"]}}"#).unwrap_err();
    assert!(fault.problem.contains("exchange") && fault.problem.contains("--show-secrets"), "{fault}");
    assert!(config("config_json", r#"{"note": "rated ***"}"#).is_ok(), "stars within a text are text");
}
