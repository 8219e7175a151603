//! A client that knows nothing but gRPC's own reflection drives a bot: what `grpcurl` does, in Python.

use std::{path::Path, process::Command};

use crate::{
    files,
    rig::{Service, executors, run},
};

#[test]
fn a_stock_client_deploys_watches_and_stops_a_bot() {
    let Some(executor) = executors().first().copied() else { return };
    let Some(python) = python_with_grpc() else { return };
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("bundle.zip");
    let program = "import time\ndef main(bot_id, config):\n    print('hello', bot_id, flush=True)\n    time.sleep(600)\n";
    files::zip(&bundle, &[("main.py", program.as_bytes())]);
    let service = Service::start(executor);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/stock_client.py");
    let address = service.url.trim_start_matches("http://");
    let ended = run(Command::new(python).arg(script).args([address, bundle.to_str().unwrap(), "stock"]));
    assert_eq!(ended.code, 0, "{}\n{}", ended.out, ended.err);
    for step in ["services:", "running: attempt 1", "log: hello", "stopped:", "deleted:", "bad id:"] {
        assert!(ended.out.contains(step), "{step} is missing in {}", ended.out);
    }
}

/// A Python that can import grpc: the one `scripts/setup-grpc-client.sh` made, or the system's.
fn python_with_grpc() -> Option<String> {
    let made = std::env::var("THE0_GRPC_PYTHON").ok();
    let found = made.into_iter().chain(["python3".to_owned()]).find(|python| {
        let imports = "import grpc, grpc_reflection.v1alpha.proto_reflection_descriptor_database";
        run(Command::new(python).args(["-c", imports])).code == 0
    });
    let required = std::env::var_os("THE0_TEST_GRPC_CLIENT").is_some_and(|value| value == "required");
    assert!(
        found.is_some() || !required,
        "THE0_TEST_GRPC_CLIENT=required, and no Python has grpcio-reflection"
    );
    if found.is_none() {
        eprintln!("skipped: no Python has grpcio-reflection; scripts/setup-grpc-client.sh makes one");
    }
    found
}
