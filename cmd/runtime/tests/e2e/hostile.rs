//! Bots that are up to no good.

use crate::{
    files,
    rig::{Service, executors, soon},
};

/// Greets the API as a client would, and says what came of it.
const CALLER: &str = r#"
import socket, time
def main(bot_id, config):
    try:
        call = socket.create_connection(("127.0.0.1", config["port"]), 5)
        call.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
        answer = call.recv(100)
    except OSError as error:
        answer = b""
    print("it answered" if answer else "it did not answer", flush=True)
    time.sleep(1000)
"#;

#[test]
fn bots_do_not_reach_the_api() {
    for executor in executors() {
        let bots = tempfile::tempdir().unwrap();
        let dir = files::bot(bots.path(), "caller", CALLER, "stop_grace_ms: 500\n");
        let service = Service::start(executor);
        let port = service.url.rsplit(':').next().unwrap();
        service.run(&["bots", "deploy", dir.to_str().unwrap(), "--set", &format!("port={port}")]);
        let said = soon("it says what came of it", || {
            let said = service.run(&["bots", "logs", "caller"]);
            said.contains("answer").then_some(said)
        });
        assert!(said.contains("it did not answer"), "{executor}: a bot can read the keys of all bots");
    }
}
