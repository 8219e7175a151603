use std::collections::BTreeMap;

use serde_json::json;
use the0_model::{
    CodeRef, Generation, Limits, Network, Runtime, Secret, SegmentId, UnitId, UnitKind, WorkerId,
};

use super::*;

#[derive(Debug)]
struct Unpacked(PathBuf);

#[async_trait]
impl CodeSource for Unpacked {
    async fn fetch(&self, _: &CodeRef) -> Result<PathBuf, ExecutorError> {
        Ok(self.0.clone())
    }
}

fn spec(entrypoint: &str) -> UnitSpec {
    UnitSpec {
        id: UnitId::new("bot/b1").unwrap(),
        kind: UnitKind::Service,
        runtime: Runtime::Python311,
        entrypoint: entrypoint.into(),
        code: CodeRef { location: "u/b/1".into(), version: "1".into(), digest: None },
        config: Secret::new(json!({"apiKey": "canary"})),
        env: BTreeMap::new(),
        limits: Limits::default(),
        network: Network::Outside,
        image: None,
        stop_grace_ms: 1000,
        restarts_requested: 0,
    }
}

fn owner() -> Owner {
    Owner {
        service: "bot-runner".into(),
        segment: SegmentId(1),
        worker: WorkerId::new("w1").unwrap(),
        generation: Generation::default(),
    }
}

fn provision(root: &Path) -> Provision {
    let code = root.join("code");
    fs::create_dir_all(code.join("sub")).unwrap();
    fs::write(code.join("main.py"), "").unwrap();
    let run_as = RunAs::for_service();
    Provision::new(UnitsDir::new(root.join("units")), Arc::new(Unpacked(code)), root.join("tools"), run_as)
}

#[tokio::test]
async fn attempts_are_numbered_and_old_ones_go_and_no_keys_stay() {
    let root = tempfile::tempdir().unwrap();
    let provision = provision(root.path()).keeping(3);
    let mut last = None;
    for number in 1..=5 {
        let made = provision.prepare(&spec("main.py"), &owner(), AgentOptions::default()).await.unwrap();
        assert_eq!((made.attempt, made.resumed), (number, number > 1));
        let told: AgentSpec = crate::units::read_json(&made.dir.input().join("unit.json")).unwrap();
        assert_eq!((told.attempt, told.bot.as_str()), (number, "b1"));
        last = Some(made);
    }
    let last = last.unwrap();
    assert_eq!(last.unit.attempts().unwrap(), [3, 4, 5]);
    assert!(!last.unit.attempt(4).input().exists(), "an old attempt keeps no keys");
    assert_eq!(fs::read_to_string(last.dir.input().join("config.json")).unwrap(), r#"{"apiKey":"canary"}"#);
    let mode = fs::metadata(last.dir.input().join("config.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o440);
    assert_eq!(
        fs::metadata(last.unit.path()).unwrap().permissions().mode() & 0o077,
        0,
        "others are kept out"
    );
}

#[tokio::test]
async fn a_discarded_attempt_never_was() {
    let root = tempfile::tempdir().unwrap();
    let provision = provision(root.path());
    let first = provision.prepare(&spec("main.py"), &owner(), AgentOptions::default()).await.unwrap();
    provision.discard(&first).await;
    assert!(!first.unit.path().exists(), "the first start leaves no folder");
    let again = provision.prepare(&spec("main.py"), &owner(), AgentOptions::default()).await.unwrap();
    assert_eq!((again.attempt, again.resumed), (1, false));
    let second = provision.prepare(&spec("main.py"), &owner(), AgentOptions::default()).await.unwrap();
    provision.discard(&second).await;
    assert_eq!(second.unit.attempts().unwrap(), [1], "what was there before stays");
}

#[tokio::test]
async fn a_bad_entrypoint_is_named_and_leaves_nothing() {
    let root = tempfile::tempdir().unwrap();
    let provision = provision(root.path());
    for (bad, says) in [
        ("bot.py", "not in the bundle"),
        ("", "entrypoint"),
        ("../main.py", "not acceptable"),
        ("/etc/passwd", "not acceptable"),
        ("sub", "is a folder"),
    ] {
        let error = provision.prepare(&spec(bad), &owner(), AgentOptions::default()).await.unwrap_err();
        assert!(error.is_permanent() && error.to_string().contains(says), "{bad}: {error}");
    }
    let native = UnitSpec { runtime: Runtime::RustStable, ..spec("main.py") };
    let error = provision.prepare(&native, &owner(), AgentOptions::default()).await.unwrap_err();
    assert!(error.to_string().contains("chmod +x main.py"), "{error}");
    assert!(!root.path().join("units").exists(), "nothing left behind");
}
